"""How far rounding alone moves a model's numbers: the measure of every limit that is not zero (docs/numerics.md).

It is taken from scorings that cannot hold a fault of ours: one answer alone; beside it the same answer twice in one
batch with padding on the right; and in other tiles of the head and, on a CPU, through the model's other attention
function. Never from other neighbours or rows: what leaks from them would raise the noise, and with it the limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from core.contract.errors import BadModel
from trainer import head
from trainer.collection import scored_tokens
from trainer.data import Example
from trainer.engine import Engine
from trainer.layouts import Batch, collate
from trainer.world import World

# A limit is so many times the noise; the noise is never taken for less than the floor, which is about that of a real
# model: few answers are looked at, and one that the model is sure of has none.
FACTOR = 8
FLOOR = {"fp32": 5e-6, "bf16": 3e-2}
GRADIENT_FLOOR = {"fp32": 5e-6, "bf16": 3e-2}
# Above it nothing can be told from anything, and the model is refused.
CEILING = {"fp32": 1e-3, "bf16": 0.5}
GRADIENT_CEILING = 1.0
ANSWERS = 3
PADDING = 5
OTHER_TILE_BYTES = 4 << 20
# Tokens of an answer up to which attention is written out.
WRITTEN_OUT = 512


@dataclass(frozen=True)
class Noise:
    """Root mean squares over answers and scorings.

    sums: of an answer's log-probability, |difference| / sqrt(scored tokens). gradients: at the embeddings, L2 norm of
    the difference / L2 norm.
    """

    sums: float
    gradients: float

    @property
    def limit(self) -> float:
        """Of |difference of an answer's sum| / sqrt(scored tokens)."""
        return FACTOR * self.sums

    @property
    def gradient_limit(self) -> float:
        return FACTOR * self.gradients

    @property
    def said(self) -> str:
        """For a message, behind what was found."""
        return f"at most {self.limit:.1e} = {FACTOR} x the noise of {self.sums:.1e}"

    @property
    def gradients_said(self) -> str:
        return f"at most {self.gradient_limit:.1e} = {FACTOR} x the noise of {self.gradients:.1e}"


def by_root(difference: Tensor, lengths: Tensor) -> Tensor:
    """|difference| of sums [S] / sqrt(scored tokens): rounding adds up like steps in no direction."""
    return difference.abs() / lengths.sqrt()


def measured(
    engine: Engine,
    world: World,
    precision: str,
    answers: Sequence[Example],
    sums: Tensor,
    gradients: Sequence[Tensor],
) -> Noise:
    """`answers`: examples of one answer each; sums [S] and gradients [T, H] at the embeddings: of each by itself.

    The same on every rank. Raises BadModel above the ceiling.
    """
    device = world.device
    few = sorted(range(len(answers)), key=lambda i: answers[i].longest)[:ANSWERS]
    squares: list[tuple[float, float]] = []

    def take(i: int, found: Tensor, traced: Tensor) -> None:
        """Of each row: sums [B], gradients [B, T, H]."""
        root, alone = float(scored_tokens([answers[i]]).sqrt()), gradients[i]
        length = float(alone.norm()) or 1.0
        for row, gradient in enumerate(traced[:, : len(alone)]):
            off = (float(found[row] - sums[i]) / root, float((gradient.cpu().float() - alone).norm()) / length)
            squares.append((off[0] ** 2, off[1] ** 2))

    for i in few:
        batch = wider(collate([answers[i]] * 2, "padded", device), PADDING)
        take(i, *traced(engine, batch))
    with head_tiles(OTHER_TILE_BYTES):
        for i in few:
            with other_attention(engine, device, answers[i].longest):
                take(i, *traced(engine, collate([answers[i]], "padded", device)))
    mine = [sqrt(sum(column) / len(squares)) for column in zip(*squares, strict=True)]
    of_sums, of_gradients = (max(each) for each in zip(*world.gather(mine), strict=True))
    if not (of_sums <= CEILING[precision] and of_gradients <= GRADIENT_CEILING):
        advice = " Train it in fp32." if precision == "bf16" else ""
        raise BadModel(
            f"In {precision}, rounding alone moves this model's log-probabilities by {of_sums:.1e} x sqrt(tokens) (at "
            f"most {CEILING[precision]:g} serves), and its gradients by {100 * of_gradients:.0f} %: training would "
            f"follow noise.{advice}",
            code="too_noisy",
            param="model",
        )
    return Noise(max(of_sums, FLOOR[precision]), max(of_gradients, GRADIENT_FLOOR[precision]))


def traced(engine: Engine, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sums [B] of a padded batch's answers and their gradients [B, T, H]."""
    sums, gradient = engine.trace(batch, [1.0] * batch.sequences)
    return sums[:, 0].cpu().float(), gradient


def wider(batch: Batch, more: int) -> Batch:
    """A padded batch with so many more tokens of padding on its right."""
    assert batch.attention is not None
    tokens = batch.ids.shape[1]
    return replace(
        batch,
        ids=F.pad(batch.ids, (0, more)),
        attention=F.pad(batch.attention, (0, more)),
        predictor=batch.predictor + batch.predictor // tokens * more,
    )


@contextmanager
def head_tiles(size: int) -> Iterator[None]:
    """The fused head works on so many bytes of logits at once, while inside."""
    before = head.TILE_BYTES
    head.TILE_BYTES = dict.fromkeys(before, size)
    try:
        yield
    finally:
        head.TILE_BYTES = before


@contextmanager
def other_attention(engine: Engine, device: torch.device, longest: int) -> Iterator[None]:
    """On a CPU, of a model that scores with torch's attention function: written out (transformers' "eager"), which
    holds a table of the `longest` answer's tokens squared; so only of short ones. Some models keep to their own."""
    own = engine.scorer.own_attention
    if device.type == "cpu" and own == "sdpa" and longest <= WRITTEN_OUT and engine.scorer.takes("eager"):
        engine.scorer.own_attention = "eager"
    try:
        yield
    finally:
        engine.scorer.own_attention = own
