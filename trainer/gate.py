"""The gate: three checks on the first global batch, before its update, that the numbers can be trusted.

At step 0 policy and reference are one model, so h = log pi - log pi_ref must be 0 for every answer. The mean loss would
be a blind instrument: an error that hits both answers cancels in it. So h itself is looked at, a token.
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
from trainer.losses import Scores
from trainer.scoring import score_examples
from trainer.world import World


@dataclass(frozen=True)
class Limits:
    """Largest |h| a token between two forwards and against the stored reference (largest, mean); error of the loss."""

    forward: float
    largest: float
    mean: float
    loss: float


LIMITS = {"fp32": Limits(1e-6, 1e-5, 1e-5, 1e-5), "bf16": Limits(1e-6, 2e-2, 2e-3, 5e-3)}


class FirstLook:
    """What the first global batch shows, row by row, on this rank; `judge` puts the ranks' together."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.limits = LIMITS[course.spec.settings.precision]
        self.compared = False
        self.h: list[float] = []
        self.expected = self.explained = 0.0
        self.examples = 0

    def same_forward(self, with_graph: Tensor, without: Tensor, examples: Sequence[Example]) -> None:
        """(A) On the first row: the training forward and the one without gradients see the same model."""
        self.compared = True
        lengths = scored_tokens(examples).to(with_graph.device)
        worst = float(((with_graph.detach() - without)[:, 0].abs() / lengths).max())
        if not worst <= self.limits.forward:
            raise GateFailed(f"The training forward differs from the plain one by {worst:.1e} a token.")

    def take(self, seen: Scores) -> None:
        settings = self.course.spec.settings
        expected = at_start(seen, settings)
        if expected is None:
            return
        self.h += (seen.h / seen.lengths)[seen.there].tolist()
        self.expected += float(expected.double().sum())
        self.explained += float(rounding(seen, settings).double().sum())
        self.examples += len(seen.weight)

    def judge(self, preference_loss: float) -> None:
        """(B) and (C), for a loss that compares with a reference. Raises GateFailed, on all ranks alike."""
        if not LOSSES[self.course.spec.settings.loss].reference:
            return
        world = self.course.world
        same_reference(all_of(world, self.h), self.limits)
        mine = torch.tensor([self.expected, self.explained, float(self.examples)], dtype=torch.float64)
        expected, explained, examples = world.sum(mine).tolist()
        right_loss(preference_loss, expected / examples, explained / examples, self.limits)


def same_reference(h_per_token: Tensor, limits: Limits) -> float:
    """(B) The stored reference is the policy of now. Returns the largest |h| a token."""
    worst, mean = float(h_per_token.abs().max()), float(h_per_token.abs().mean())
    if not (worst <= limits.largest and mean <= limits.mean):
        raise GateFailed(f"The stored reference differs from the policy at step 0 by {worst:.1e} a token.")
    return worst


def right_loss(found: float, expected: float, explained: float, limits: Limits) -> float:
    """(C) The mean preference loss is what the formula gives where nothing has moved. Returns the error.

    `explained`: by how much the h that there is, which (B) has found to be rounding, can have moved it.
    """
    error = abs(found - expected)
    if not error <= limits.loss * max(1.0, abs(expected)) + explained:
        raise GateFailed(f"The first loss is {found:.6f}, not {expected:.6f}.")
    return error


def cache_serves(course: Course) -> bool:
    """(B) before the first step, without gradients, for a reference that another run computed."""
    spec, train = course.spec, course.data.train
    batch = global_batch(spec.seed, 1, spec.train_digest, len(train), spec.settings.batch_size)
    examples = train.pick(batch)
    policy = score_examples(course.engine, course.world, examples, course.layout, spec.row_tokens)
    h = (policy - course.reference.train[train.numbers(batch)])[:, 0] / scored_tokens(examples)
    try:
        same_reference(h, LIMITS[spec.settings.precision])
    except GateFailed:
        return False
    return True


def all_of(world: World, numbers: list[float]) -> Tensor:
    return torch.tensor([number for part in world.gather(numbers) for number in part])
