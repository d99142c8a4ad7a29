"""The figures of a step or an evaluation, under TRL's names, as sums and counts: they add up over rows and ranks."""

import torch
from torch import Tensor

from core.contract.run_spec import Settings
from trainer.losses import Scores, negative_log_likelihood, rewards, wins

NAMES = (
    "loss",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
    "logps/accuracies",
    "kl",
    # For the gate and the alarms, not shown: the loss without its other terms; |h| and h of the best answer, a token.
    "preference",
    "distance",
    "shift",
)
HIDDEN = frozenset({"preference", "distance", "shift"})


@torch.no_grad()
def sums(scores: Scores, settings: Settings, loss: Tensor, preferred: Tensor) -> Tensor:
    """float64 [len(NAMES), 2]: sum and count over n examples. `loss`, `preferred`: [n].

    Rewards and accuracy are of what the loss compares (docs/figures.md). With single answers (kto) the wanted ones
    count as chosen, the others as rejected, and `kl` is what each is compared with.
    """
    chosen, rejected = rewards(scores, settings)
    h = scores.policy - scores.reference
    per_token = h / scores.lengths
    every = torch.ones_like(loss, dtype=torch.bool)
    none = ~every
    best, others = scores.policy[:, 0], scores.policy[:, 1:]
    if settings.loss == "kto":
        wanted, unwanted, accurate, against = scores.label, ~scores.label, none, every
        rejected_logps = best
    else:
        wanted = unwanted = accurate = every
        against = none
        present = scores.there[:, 1:]
        rejected_logps = (others * present).sum(1) / present.sum(1)
    columns = {
        "loss": (loss, every),
        "rewards/chosen": (chosen, wanted),
        "rewards/rejected": (rejected, unwanted),
        "rewards/accuracies": (wins(scores, settings), every),
        "logps/chosen": (best, wanted),
        "logps/rejected": (rejected_logps, unwanted),
        "nll_loss": (negative_log_likelihood(scores), wanted),
        "logps/accuracies": ((best > rejected_logps).to(best.dtype), accurate),
        "kl": (scores.kl.expand_as(loss), against),
        "preference": (preferred, every),
        "distance": ((per_token.abs() * scores.there).sum(1) / scores.there.sum(1), every),
        "shift": (per_token[:, 0], wanted),
    }
    return torch.stack(
        [
            torch.stack([(values.double() * counted).sum(), counted.double().sum()])
            for values, counted in (columns[name] for name in NAMES)
        ]
    )


def means(totals: list[list[float]]) -> dict[str, float]:
    """By name; what nothing was counted for is left out. The margin is the difference of the two mean rewards."""
    found = {name: total / count for name, (total, count) in zip(NAMES, totals, strict=True) if count}
    if "rewards/chosen" in found and "rewards/rejected" in found:
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    return found


def shown(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name not in HIDDEN}
