"""The gate: checks on the first global batch, before its update, that the numbers can be trusted (docs/numerics.md).

At step 0 policy and reference are one model, so h = log pi - log pi_ref must be 0 for every answer: not a bit may
differ where both are taken from one row (A, B1), and from the stored reference, whose rows have other shapes, rounding
alone (B2). The mean loss would be a blind instrument: an error that hits both answers cancels in it, so h itself is
looked at; then the loss (C).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.contract.losses import LOSSES
from trainer.at_start import at_start, rounding
from trainer.batches import global_batch
from trainer.collection import scored_tokens
from trainer.course import Course
from trainer.data import Example
from trainer.failures import GateFailed
from trainer.layouts import Batch
from trainer.losses import Scores
from trainer.noise import Noise, by_root
from trainer.scoring import score_examples
from trainer.world import World

# Error of the first loss, beside what h explains of it (C).
LOSS_LIMITS = {"fp32": 1e-5, "bf16": 5e-3}
# Standard errors of the mean that h may be off 0 by (B2).
SHIFT = 4
NO_UPDATE = "Nothing was trained: this is a fault of Palate. Please report the model's name and this message."


@dataclass(frozen=True)
class Plain:
    """Sums [S, 2] of a row without a graph, as far as they are wanted: as the model is, and with its adapter off."""

    now: Tensor | None
    without_adapter: Tensor | None


class FirstLook:
    """What the first global batch shows, row by row, on this rank; `judge` puts the ranks' together."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.compared = False
        self.h: list[float] = []
        self.expected = self.explained = 0.0
        self.examples = 0

    def plain(self, batch: Batch) -> Plain:
        """Before the row's forward: of the first row as it is; of every row what its reference would be, with LoRA."""
        engine = self.course.engine
        now = None if self.compared else engine.score_only(batch)
        self.compared = True
        return Plain(now, engine.score_only(batch, reference=True) if engine.adapter else None)

    def same_forward(self, policy: Tensor, plain: Plain, examples: Sequence[Example]) -> None:
        """(A) the training forward and the one without gradients see the same model; (B1) a fresh adapter is none."""
        for name, other in (
            ("The training forward differs from the plain one", plain.now),
            ("Before the first step the adapter already changes the model", plain.without_adapter),
        ):
            if other is None or torch.equal(policy.detach(), other):
                continue
            off = by_root((policy.detach() - other)[:, 0].cpu(), scored_tokens(examples))
            # No GPU has shown yet that both forwards keep the bits there.
            limit = self.course.noise.limit if policy.device.type == "cuda" else 0.0
            if not float(off.max()) <= limit:
                raise GateFailed(f"{name}, by {float(off.max()):.1e} x sqrt(tokens), at most {limit:.1e}. {NO_UPDATE}")

    def take(self, seen: Scores) -> None:
        settings = self.course.spec.settings
        expected = at_start(seen, settings)
        if expected is None:
            return
        self.h += (seen.h / seen.lengths.sqrt())[seen.there].tolist()
        self.expected += float(expected.double().sum())
        self.explained += float(rounding(seen, settings).double().sum())
        self.examples += len(seen.weight)

    def judge(self, preference_loss: float) -> None:
        """(B2) and (C), for a loss that compares with a reference. Raises GateFailed, on all ranks alike."""
        if not LOSSES[self.course.spec.settings.loss].reference:
            return
        world = self.course.world
        mine = torch.tensor([self.expected, self.explained, float(self.examples)], dtype=torch.float64)
        expected, explained, examples = world.sum(mine).tolist()
        same_reference(all_of(world, self.h), self.course.noise, int(examples))
        right_loss(preference_loss, expected / examples, explained / examples, self.course.spec.settings.precision)


def same_reference(h_by_root: Tensor, noise: Noise, examples: int) -> float:
    """(B2) The stored reference is the policy of now: h / sqrt(scored tokens) of every answer is rounding, and about 0.

    Answers behind one prompt share its rounding: as many numbers count as there are `examples`, and the mean may always
    be off by the noise. Returns the rms.
    """
    rms, mean = float(h_by_root.square().mean().sqrt()), abs(float(h_by_root.mean()))
    most = max(SHIFT * rms / examples**0.5, noise.sums)
    if not (rms <= noise.limit and mean <= most):
        raise GateFailed(
            f"The stored reference differs from the policy at step 0, by {rms:.1e} x sqrt(tokens) ({noise.said}), on "
            f"average by {mean:.1e} (at most {most:.1e}). {NO_UPDATE}"
        )
    return rms


def right_loss(found: float, expected: float, explained: float, precision: str) -> float:
    """(C) The mean preference loss is what the formula gives where nothing has moved. Returns the error.

    `explained`: by how much the h that there is, which (B2) has found to be rounding, can have moved it.
    """
    error, limit = abs(found - expected), LOSS_LIMITS[precision] * max(1.0, abs(expected)) + explained
    if not error <= limit:
        raise GateFailed(
            f"The first loss is {found:.6f}, not {expected:.6f}: off by {error:.1e}, at most {limit:.1e}. {NO_UPDATE}"
        )
    return error


def cache_serves(course: Course) -> bool:
    """(B2) before the first step, without gradients, for a reference that another run computed."""
    spec, train = course.spec, course.data.train
    batch = global_batch(spec.seed, 1, spec.train_digest, len(train), spec.settings.batch_size)
    examples = train.pick(batch)
    policy = score_examples(course.engine, course.world, examples, course.layout, spec.row_tokens)
    h = (policy - course.reference.train[train.numbers(batch)])[:, 0] / scored_tokens(examples).sqrt()
    try:
        same_reference(h, course.noise, len(examples))
    except GateFailed:
        return False
    return True


def all_of(world: World, numbers: list[float]) -> Tensor:
    return torch.tensor([number for part in world.gather(numbers) for number in part])
