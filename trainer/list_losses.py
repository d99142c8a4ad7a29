"""Losses of data that is not pairs: single answers with a thumb up or down, and lists in order of preference."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contract.run_spec import Settings

if TYPE_CHECKING:  # trainer.losses imports this file for its table
    from trainer.losses import Scores


def kto(scores: "Scores", settings: Settings) -> Tensor:
    """v (1 - s(r - z0)) for a wanted answer, u (1 - s(z0 - r)) for an unwanted one, r = beta h; one answer, K = 1.

    z0 = beta kl says how much likelier the policy makes just any answer: what is punished is being on the wrong side
    of it. v and u: desirable_weight, undesirable_weight. KTO, Ethayarajh et al. 2024, arXiv:2402.01306,
    section 4.
    """
    z = settings.beta * (scores.h[:, 0] - scores.kl)
    wanted, unwanted = settings.desirable_weight * (-z).sigmoid(), settings.undesirable_weight * z.sigmoid()
    return torch.where(scores.label, wanted, unwanted)


def s_dpo(scores: "Scores", settings: Settings) -> Tensor:
    """ln sum_j exp(r_j - r_w), j over all answers, w among them: the best one against all others at once, r = beta h.

    The same as the paper's -ln s(-ln sum_{j != w} exp(r_j - r_w)); with one other answer it is DPO. For recommenders:
    one item was taken, many were not. S-DPO, Chen et al. 2024, arXiv:2406.09215.
    """
    r = settings.beta * (scores.h - scores.h[:, :1])
    return r.masked_fill(~scores.there, -torch.inf).logsumexp(dim=1)


def plackett_luce(scores: "Scores", settings: Settings) -> Tensor:
    """sum_i ln sum_{j >= i} exp(r_j - r_i), r = beta h: `s_dpo` of the best, then of the second among the rest, ...

    -ln of the probability of the whole order when answers are drawn one by one. Rafailov et al. 2023, arXiv:2305.18290,
    appendix A.3.
    """
    r = torch.where(scores.there, settings.beta * scores.h, 0)
    count = r.shape[1]
    itself = torch.eye(count, dtype=torch.bool, device=r.device)
    left = torch.ones(count, count, dtype=torch.bool, device=r.device).triu() & (scores.there[:, None, :] | itself)
    over = r[:, None, :] - r[:, :, None]  # [n, i, j]: r_j - r_i
    picks = over.masked_fill(~left, -torch.inf).logsumexp(dim=2)
    return torch.where(scores.there, picks, 0).sum(dim=1)
