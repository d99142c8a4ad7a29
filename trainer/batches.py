"""What a global batch is: a list of pairs decided by (seed, epoch, step, data) and nothing else.

How many ranks share it and how many pairs fit one forward is decided afterwards, inside the batch, and changes the
training by rounding only.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Row:
    """What one rank forwards at once. A dummy has a pair that others count: it runs the whole graph at weight 0."""

    pairs: tuple[int, ...]
    weight: int = 1


def deal(pairs: Sequence[int], lengths: Sequence[int], rank: int, ranks: int, micro_batch: int) -> list[Row]:
    """This rank's rows of a batch; every rank gets equally many, since ZeRO-3 needs all of them in each forward.

    `lengths[i]`: tokens of pair i. Sorted by length (ties by index), so that rows hold little padding and ranks
    finish together.
    """
    ordered = sorted(pairs, key=lambda i: (-lengths[i], i))
    most = -(-len(ordered) // ranks)
    mine = ordered[rank::ranks]
    rows = [Row(tuple(mine[at : at + micro_batch])) for at in range(0, len(mine), micro_batch)]
    missing = -(-most // micro_batch) - len(rows)
    return rows + [Row(tuple(ordered[-1:]), weight=0)] * missing
