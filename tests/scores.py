"""Scores for tests of the losses: three examples in float64 with everything that a loss may look at."""

from typing import Any, get_args

import torch

from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import Settings
from trainer.losses import Scores

NAMES: tuple[LossName, ...] = get_args(LossName)
# [examples, answers]: of each answer log pi, log pi_ref, both over the shared tokens, and its length.
POLICY = [[-10.0, -12.0, -9.0], [-7.5, -3.25, -4.0], [-20.0, -40.0, -33.0]]
REFERENCE = [[-11.0, -11.5, -9.5], [-7.0, -3.5, -4.75], [-18.0, -45.0, -31.0]]
LENGTHS = [[5.0, 3.0, 4.0], [3.0, 4.0, 6.0], [10.0, 9.0, 8.0]]
HEADS = [[-6.0, -12.0, -7.0], [-7.5, -2.0, -2.5], [-15.0, -35.0, -33.0]]
REFERENCE_HEADS = [[-6.5, -11.5, -8.0], [-7.0, -2.5, -3.0], [-14.0, -38.0, -31.0]]


def make_scores(answers: int = 2, dtype: torch.dtype = torch.float64, **others: Any) -> Scores:
    """The first `answers` columns of the tables above; `others` replaces fields, by lists or tensors."""

    def table(values: list[list[float]]) -> torch.Tensor:
        return torch.tensor([row[:answers] for row in values], dtype=dtype)

    made = Scores(
        policy=table(POLICY),
        reference=table(REFERENCE),
        lengths=table(LENGTHS),
        heads=table(HEADS),
        reference_heads=table(REFERENCE_HEADS),
        there=torch.ones(3, answers, dtype=torch.bool),
        weight=torch.ones(3, dtype=dtype),
        confidence=torch.ones(3, dtype=dtype),
        margin=torch.zeros(3, dtype=dtype),
        label=torch.tensor([True, False, True]),
        kl=torch.tensor(0.25, dtype=dtype),
    )
    for name, value in others.items():
        kind = torch.bool if name in ("there", "label") else dtype
        made = made._replace(**{name: torch.as_tensor(value, dtype=kind)})
    return made


def answers_of(name: LossName) -> int:
    return {"pair": 2, "list": 3, "single": 1}[LOSSES[name].unit]


def auto(name: LossName, **others: Any) -> Settings:
    """The loss's own settings at their automatic values, and `others`."""
    return Settings.model_validate({"loss": name, **LOSSES[name].auto, **others})


def unmoved(scores: Scores) -> Scores:
    return scores._replace(
        policy=scores.reference, heads=scores.reference_heads, kl=torch.zeros((), dtype=scores.policy.dtype)
    )
