"""What a global batch is: a list of pairs decided by (seed, epoch, step, data) and nothing else.

How many ranks share it and how many pairs fit one forward is decided afterwards, inside the batch (trainer.rows), and
changes the training by rounding only.
"""

import hashlib
import random
from functools import lru_cache

from trainer.schedule import steps_per_epoch


@lru_cache(maxsize=2)
def order(seed: int, epoch: int, digest: str, pairs: int) -> tuple[int, ...]:
    """A permutation of range(pairs) for one epoch (from 0)."""
    key = hashlib.sha256(f"{seed}:{epoch}:{digest}".encode()).digest()
    indices = list(range(pairs))
    random.Random(int.from_bytes(key, "big")).shuffle(indices)
    return tuple(indices)


def global_batch(seed: int, step: int, digest: str, pairs: int, batch_size: int) -> tuple[int, ...]:
    """Indices of the pairs of optimizer step 1, 2, …; an epoch's last batch may be smaller."""
    epoch, position = divmod(step - 1, steps_per_epoch(pairs, batch_size))
    return order(seed, epoch, digest, pairs)[position * batch_size : (position + 1) * batch_size]


def used(seed: int, steps: int, digest: str, pairs: int, batch_size: int) -> list[int]:
    """Indices, in order, of the pairs that steps 1..`steps` train on: all of them once there is a whole epoch."""
    first = min(steps, steps_per_epoch(pairs, batch_size))
    return sorted({i for step in range(1, first + 1) for i in global_batch(seed, step, digest, pairs, batch_size)})
