"""Log-probabilities under the reference, taken once, before the first step: the policy has not moved yet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.contract.errors import BadModel
from trainer.data import Pair
from trainer.engine import Engine
from trainer.scoring import Tick, score_pairs
from trainer.world import World


@dataclass(frozen=True)
class Reference:
    """fp32 [pairs, 2] for the training pairs and the held-out ones."""

    train: Tensor
    held_out: Tensor

    def digest(self) -> str:
        """sha256 of the bytes of both: recorded in resume points, compared when a run goes on."""
        seen = hashlib.sha256()
        for values in (self.train, self.held_out):
            seen.update(values.contiguous().numpy().tobytes())
        return seen.hexdigest()


def reference_pass(
    engine: Engine, world: World, train: Sequence[Pair], held_out: Sequence[Pair], micro_batch: int, tick: Tick
) -> Reference:
    total = len(train) + len(held_out)
    first = score_pairs(engine, world, train, micro_batch, lambda done, _: tick(done, total))
    second = score_pairs(engine, world, held_out, micro_batch, lambda done, _: tick(len(train) + done, total))
    for values, pairs in ((first, train), (second, held_out)):
        unfit = torch.nonzero(~values.isfinite().all(dim=1)).flatten().tolist()
        if unfit:
            raise BadModel(
                f"The model gives no finite log-probability to the pair of line {pairs[unfit[0]].line}; "
                f"{len(unfit)} of {len(pairs)} pairs are like that.",
                code="non_finite_logps",
                param="model",
            )
    return Reference(first, second)
