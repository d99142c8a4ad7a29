"""Direct preference optimisation, in pure functions on one number a sequence.

A language model gives an answer y to a prompt x the log-probability log pi(y | x): the sum of log pi(y_t | x, y_<t)
over the tokens of the answer. DPO (Rafailov et al. 2023, arXiv:2305.18290) compares two models: the policy pi, which
is trained, and the reference pi_ref, which is the policy before the first step. How far it has moved on one answer:

    h = log pi(y | x) - log pi_ref(y | x)                     implicit reward: r = beta h

Of each pair one answer, w, is preferred over the other, l. With D = h_w - h_l the model of Bradley and Terry says that
w wins with probability sigmoid(beta D), and the loss is the cross-entropy of what people said (eq. 7):

    loss = -log sigmoid(beta D)

At the first step policy and reference are one model, so D = 0 and the loss is ln 2, whatever the data.
All tensors here have shape [pairs] and hold fp32 sums over the scored tokens.
"""

from collections.abc import Callable
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from core.contract.run_spec import Settings


class Moved(NamedTuple):
    """h of both answers: policy minus reference."""

    chosen: Tensor
    rejected: Tensor

    @property
    def difference(self) -> Tensor:
        return self.chosen - self.rejected


def moved(policy: Tensor, reference: Tensor) -> Moved:
    """`policy`, `reference`: log-probabilities [pairs, 2], chosen first."""
    h = policy - reference
    return Moved(h[:, 0], h[:, 1])


def sigmoid(h: Moved, settings: Settings) -> Tensor:
    """(1-e) l(D) + e l(-D) with l(z) = -log sigmoid(beta z): DPO for e = 0, else conservative DPO (Mitchell 2023).

    e, `label_smoothing`, is the share of pairs whose label is believed to be the wrong way round.
    """
    logits = settings.beta * h.difference
    e = settings.label_smoothing
    return -(1 - e) * logsigmoid(logits) - e * logsigmoid(-logits)


# By name: the loss of each pair, and its value while the policy still is the reference.
LOSSES: dict[str, Callable[[Moved, Settings], Tensor]] = {"sigmoid": sigmoid}
AT_START: dict[str, Callable[[Settings], float]] = {"sigmoid": lambda settings: log(2)}


def preference(h: Moved, settings: Settings) -> Tensor:
    return LOSSES[settings.loss](h, settings)


def negative_log_likelihood(policy: Tensor, lengths: Tensor) -> Tensor:
    """-log pi(y_w | x) / |y_w| of the chosen answers: what `nll_weight` adds (RPO, Pang et al. 2024).

    `policy` and `lengths` (scored tokens): [pairs, 2].
    """
    return -policy[:, 0] / lengths[:, 0]


def share(per_pair: Tensor, weight: float, batch_pairs: int, ranks: int) -> Tensor:
    """What a micro-batch adds to the loss of its global batch: a mean over the *global* batch's pairs.

    DeepSpeed averages gradients over the ranks, hence `ranks`; `weight` is 0 for a row that only keeps a rank in step.
    """
    return per_pair.sum() * (weight * ranks / batch_pairs)


def rewards(h: Moved, beta: float) -> tuple[Tensor, Tensor]:
    """r = beta h of both answers, for the metrics."""
    return beta * h.chosen.detach(), beta * h.rejected.detach()


def wins(difference: Tensor, lengths: Tensor) -> Tensor:
    """1 where D > 0, 0 where D < 0, a half where |D| is below 1e-4 a token, which is rounding.

    `lengths`: [pairs, 2].
    """
    tie = difference.abs() < 1e-4 * lengths.amax(dim=1)
    return torch.where(tie, 0.5, (difference > 0).to(difference.dtype))
