"""Scoring many examples without gradients, shared by all ranks: the reference pass, evaluation, the reload check."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.ahead import ahead
from trainer.collection import Collection
from trainer.data import Example
from trainer.engine import Engine
from trainer.layouts import Layout, collate
from trainer.rows import plan
from trainer.world import World

Tick = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """A tick for what is too short to be told."""


def score_examples(
    engine: Engine,
    world: World,
    examples: Sequence[Example],
    layout: Layout,
    row_tokens: int,
    tick: Tick = silent,
    *,
    reference: bool = False,
) -> Tensor:
    """Sums of every answer, fp32 [S, 2] on the CPU (see trainer.scorer), the same bits on every rank.

    `reference`: under the model as it was before the first step, not the policy. `tick(done, total)` in examples is
    called by all ranks after each row, and may raise on all of them.
    """
    collection = Collection(examples)
    found = torch.zeros(collection.sequences, 2, dtype=torch.float64)
    if not examples:
        return found.float()
    rows = plan(range(len(examples)), examples, layout, world.rank, world.size, row_tokens, engine.scorer.boundary)
    done = 0
    made = ahead(rows, lambda row: collate(collection.pick(row.examples), layout, world.device))
    for row, batch in made:
        sums = engine.score_only(batch, reference=reference)
        if row.weight:
            found[collection.numbers(row.examples)] = sums.to("cpu", torch.float64)
            done += len(row.examples)
        tick(min(done * world.size, len(examples)), len(examples))
    tick(len(examples), len(examples))
    return world.sum(found).float()
