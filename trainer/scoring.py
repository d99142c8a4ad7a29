"""Scoring many pairs without gradients, shared by all ranks: the reference pass, evaluation, the reload check."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.batches import deal
from trainer.data import Pair
from trainer.engine import Engine
from trainer.scorer import collate
from trainer.world import World

Tick = Callable[[int, int], None]


def score_pairs(engine: Engine, world: World, pairs: Sequence[Pair], micro_batch: int, tick: Tick) -> Tensor:
    """log pi(y | x) of every pair, fp32 [pairs, 2] on the CPU, the same bits on every rank.

    `tick(done, total)` in pairs is called by all ranks after each row, and may raise on all of them.
    """
    found = torch.zeros(len(pairs), 2, dtype=torch.float64)
    lengths = [pair.longest for pair in pairs]
    rows = deal(range(len(pairs)), lengths, world.rank, world.size, micro_batch)
    for number, row in enumerate(rows, start=1):
        sums = engine.score_only(collate([pairs[i] for i in row.pairs], world.device))
        if row.weight:
            found[list(row.pairs)] = sums.to("cpu", torch.float64)
        tick(min(number * micro_batch * world.size, len(pairs)), len(pairs))
    return world.sum(found).float()
