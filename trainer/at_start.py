"""What a loss must be before the first step, when the policy still is the reference: by hand, not by its formula."""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.contract.losses import LossName
from core.contract.run_spec import Settings
from trainer.losses import Scores, preference

LN2 = log(2)


def family(scores: Scores, settings: Settings) -> Tensor:
    """ln 2, but for a margin to be won by: then a soft label pays for the side it is on."""
    e, c = settings.label_smoothing, scores.confidence
    wrong = c * e + (1 - c) * (1 - e)
    short = settings.margin_weight * scores.margin
    return softplus(short) - wrong * short


def half_its_weight(scores: Scores, settings: Settings) -> Tensor:
    wanted = scores.label.to(scores.policy.dtype)
    return (settings.desirable_weight * wanted + settings.undesirable_weight * (1 - wanted)) / 2


def ln_answers(scores: Scores, settings: Settings) -> Tensor:
    return scores.there.sum(dim=1).to(scores.policy.dtype).log()


def ln_orders(scores: Scores, settings: Settings) -> Tensor:
    return torch.lgamma(scores.there.sum(dim=1).to(scores.policy.dtype) + 1)


def even_bet(scores: Scores, settings: Settings) -> float:
    e = settings.label_smoothing
    return -LN2 - log(e * (1 - e)) / 2


AT_START: dict[LossName, Callable[[Scores, Settings], Tensor | float]] = {
    "sigmoid": family,
    "sigmoid_norm": family,
    "robust": lambda scores, settings: LN2,
    "hinge": lambda scores, settings: 1.0,
    "ipo": lambda scores, settings: 1 / (4 * settings.beta**2),
    "apo_zero": lambda scores, settings: 1.0,
    "apo_down": lambda scores, settings: 1.0,
    "dpop": lambda scores, settings: LN2,
    "nca_pair": lambda scores, settings: 2 * LN2,
    "bco_pair": lambda scores, settings: 2 * LN2,
    "sppo_hard": lambda scores, settings: 1 / (2 * settings.beta**2),
    "exo_pair": even_bet,
    "ld": family,
    "kto": half_its_weight,
    "s_dpo": ln_answers,
    "plackett_luce": ln_orders,
}


def at_start(scores: Scores, settings: Settings) -> Tensor | None:
    """`preference` of each example [n] where h = 0; None for a loss without a reference: there the data decides."""
    if settings.loss not in AT_START:
        return None
    value = AT_START[settings.loss](scores, settings)
    return value if isinstance(value, Tensor) else torch.full_like(scores.weight, value)


def rounding(scores: Scores, settings: Settings) -> Tensor:
    """By how much the h that there is can have moved `preference` off `at_start` [n]: sum over answers |h dloss/dh|.

    An fp32 log-probability of thousands of nats carries an error of 1e-4, and dpop punishes it fifteenfold.
    """
    policy = scores.policy.detach().clone().requires_grad_()
    with torch.enable_grad():
        moved = scores._replace(policy=policy)
        (slope,) = torch.autograd.grad(preference(moved, settings).sum(), policy)
    return (slope * scores.h.detach()).abs().sum(dim=1)
