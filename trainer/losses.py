"""Direct preference optimisation, in pure functions on one number a sequence. Read this first, then `sigmoid`.

A language model gives an answer y to a prompt x the log-probability log pi(y | x): the sum of log pi(y_t | x, y_<t)
over the tokens of the answer. DPO (Rafailov et al. 2023, arXiv:2305.18290) compares two models: the policy pi, which
is trained, and the reference pi_ref, which is the policy before the first step. How far it has moved on one answer:

    h = log pi(y | x) - log pi_ref(y | x)                     implicit reward: r = beta h

Of each pair one answer, w, is preferred over the other, l. With D = h_w - h_l the model of Bradley and Terry says that
w wins with probability s(beta D), s(z) = 1 / (1 + exp(-z)), and the loss is the cross-entropy of what people said
(eq. 7):

    loss = -ln s(beta D)

That is logistic regression whose one feature is how much more the policy has learned to like w than l; no reward model,
no sampling. beta sets how far the policy may go before a pair counts as learned: a small one lets it go far. At the
first step policy and reference are one model, so D = 0 and the loss is ln 2, whatever the data (`at_start`).

Everything after `sigmoid` changes one thing in it, and its first line says which: what is compared, how a difference is
punished, or what the data is (lists of answers, single answers with a thumb up or down: trainer/list_losses.py).
`LOSSES` is the table, core/contract/losses.py says which settings and data each uses.
"""

from collections.abc import Callable
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from core.contract.losses import LOSSES as LOSS_FACTS
from core.contract.losses import LossName
from core.contract.run_spec import Settings
from trainer.list_losses import kto, plackett_luce, s_dpo


class Scores(NamedTuple):
    """What a loss sees of n examples with at most K answers each, the preferred one first; fp32, sums over tokens.

    A pair has K = 2, a ranking its length, a single answer K = 1. Losses without a reference get zeros for it.
    """

    policy: Tensor  # log pi(y | x) [n, K]
    reference: Tensor  # log pi_ref(y | x) [n, K]
    lengths: Tensor  # scored tokens [n, K]; 1 where there is no answer
    heads: Tensor  # as `policy`, over the first min(lengths) tokens only (ld)
    reference_heads: Tensor
    there: Tensor  # bool [n, K]: False where an example has fewer answers than K
    weight: Tensor  # [n] multiplies the example's loss
    confidence: Tensor  # [n] P(the first answer is better)
    margin: Tensor  # [n] how much better
    label: Tensor  # bool [n]: a single answer is wanted (kto)
    kl: Tensor  # 0-dim: `kl` of the global batch's mismatched answers (kto)

    @property
    def h(self) -> Tensor:
        """How far the policy has moved on each answer [n, K]."""
        return self.policy - self.reference

    @property
    def difference(self) -> Tensor:
        """D = h_w - h_l [n]."""
        return self.h[:, 0] - self.h[:, 1]


Loss = Callable[[Scores, Settings], Tensor]


def cross_entropy(z: Tensor, scores: Scores, settings: Settings) -> Tensor:
    """c' l(z - a m) + (1-c') l(a m - z) with l(z) = -ln s(z): what the sigmoid family does with its z [n].

    c' = c(1-e) + (1-c) e: confidence c in the label is data, label_smoothing e is the share of labels believed to be
    the wrong way round (cDPO, Mitchell 2023). With margin_weight a, w has to win by a times its margin m (DPO with an
    offset, Amini et al. 2024, arXiv:2402.10571).
    """
    e, c = settings.label_smoothing, scores.confidence
    right = c * (1 - e) + (1 - c) * e
    z = z - settings.margin_weight * scores.margin
    return -right * logsigmoid(z) - (1 - right) * logsigmoid(-z)


def sigmoid(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(beta D): DPO, eq. 7. Soft labels and margins: `cross_entropy`."""
    return cross_entropy(settings.beta * scores.difference, scores, settings)


# What is compared.


def sigmoid_norm(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(beta (h_w / |w| - h_l / |l|)): a mean over tokens, so long answers weigh no more than short ones.

    beta is larger than in `sigmoid` by about a length. Tülu 3, Lambert et al. 2024, arXiv:2411.15124, section 5.
    """
    h = scores.h / scores.lengths
    return cross_entropy(settings.beta * (h[:, 0] - h[:, 1]), scores, settings)


def ld(scores: Scores, settings: Settings) -> Tensor:
    """`sigmoid`, but tokens beyond the shorter answer's length count only ld_alpha (1: sigmoid, 0: not at all).

    LD-DPO, Liu et al. 2024, arXiv:2409.06411.
    """
    return sigmoid(tails_discounted(scores, settings.ld_alpha), settings)


def tails_discounted(scores: Scores, alpha: float) -> Scores:
    heads, base = scores.heads, scores.reference_heads
    return scores._replace(
        policy=heads + alpha * (scores.policy - heads), reference=base + alpha * (scores.reference - base)
    )


def dpop(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(beta (D - lambda max(0, -h_w))): a pair also pays, lambda-fold, where w itself became less likely.

    lambda is dpop_lambda. DPO-Positive (Smaug), Pal et al. 2024, arXiv:2402.13228.
    """
    lost = (-scores.h[:, 0]).clamp(min=0)
    return -logsigmoid(settings.beta * (scores.difference - settings.dpop_lambda * lost))


def simpo(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(beta (log pi(w) / |w| - log pi(l) / |l|) - gamma): no reference; w must win by gamma.

    gamma = simpo_gamma_ratio x beta. SimPO, Meng et al. 2024, arXiv:2405.14734, eq. 6.
    """
    mean = scores.policy / scores.lengths
    return -logsigmoid(settings.beta * (mean[:, 0] - mean[:, 1] - settings.simpo_gamma_ratio))


def orpo(scores: Scores, settings: Settings) -> Tensor:
    """-p_w - lambda ln s(o_w - o_l) with p = log pi(y) / |y| and log-odds o = p - ln(1 - exp p): no reference.

    Supervised fine-tuning on w and a preference in one; lambda is orpo_lambda. ORPO, Hong et al. 2024,
    arXiv:2403.07691, eq. 6 and 7.
    """
    p = (scores.policy / scores.lengths).clamp(max=-1e-7)  # nearer to 0 is fp32 rounding, and has infinite odds
    odds = p - torch.log(-torch.expm1(p))
    return -p[:, 0] - settings.orpo_lambda * logsigmoid(odds[:, 0] - odds[:, 1])


# How a difference is punished.


def robust(scores: Scores, settings: Settings) -> Tensor:
    """[(1-e) l(beta D) - e l(-beta D)] / (1-2e): unbiased where a share e < 1/2 of the labels was flipped at random.

    e is label_smoothing. rDPO, Chowdhury et al. 2024, arXiv:2403.00409.
    """
    z, e = settings.beta * scores.difference, settings.label_smoothing
    return (-(1 - e) * logsigmoid(z) + e * logsigmoid(-z)) / (1 - 2 * e)


def hinge(scores: Scores, settings: Settings) -> Tensor:
    """max(0, 1 - beta D): a pair won by 1 / beta is left alone. SLiC-HF, Zhao et al. 2023, arXiv:2305.10425,
    on DPO's rewards as in RSO, Liu et al. 2023, arXiv:2309.06657.
    """
    return (1 - settings.beta * scores.difference).clamp(min=0)


def ipo(scores: Scores, settings: Settings) -> Tensor:
    """(h_w / |w| - h_l / |l| - 1 / (2 beta))^2: a target for D instead of "more", so certain pairs cannot run away.

    Azar et al. 2023, arXiv:2310.12036, eq. 17, with means over tokens as its authors ran it.
    """
    h = scores.h / scores.lengths
    return (h[:, 0] - h[:, 1] - 1 / (2 * settings.beta)).square()


def sppo_hard(scores: Scores, settings: Settings) -> Tensor:
    """(h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2: a target for each answer by itself.

    SPPO, Wu et al. 2024, arXiv:2405.00675, eq. 4.7 with win rates 1 and 0.
    """
    target = 1 / (2 * settings.beta)
    return (scores.h[:, 0] - target).square() + (scores.h[:, 1] + target).square()


def exo_pair(scores: Scores, settings: Settings) -> Tensor:
    """s(z) (ln s(z) - ln(1-e)) + s(-z) (ln s(-z) - ln e), z = beta D: KL from the policy's choice to (1-e, e).

    The reverse of `sigmoid`'s direction; e, label_smoothing > 0, is how often l may be right. EXO, Ji et al. 2024,
    arXiv:2402.00856, eq. 16.
    """
    z, e = settings.beta * scores.difference, settings.label_smoothing
    return z.sigmoid() * (logsigmoid(z) - log(1 - e)) + (-z).sigmoid() * (logsigmoid(-z) - log(e))


# Each answer against the reference, so that w rises and l falls by themselves, not only their difference.


def nca_pair(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(r_w) - 1/2 ln s(-r_w) - 1/2 ln s(-r_l), r = beta h: w is pulled up, both are held near the reference.

    Noise contrastive alignment, Chen et al. 2024, arXiv:2402.05369.
    """
    r = settings.beta * scores.h
    return -logsigmoid(r[:, 0]) - 0.5 * logsigmoid(-r[:, 0]) - 0.5 * logsigmoid(-r[:, 1])


def bco_pair(scores: Scores, settings: Settings) -> Tensor:
    """-ln s(r_w) - ln s(-r_l): a classifier of single answers. BCO, Jung et al. 2024, arXiv:2404.04656, without its
    reward shift (as TRL's bco_pair).
    """
    r = settings.beta * scores.h
    return -logsigmoid(r[:, 0]) - logsigmoid(-r[:, 1])


def apo_zero(scores: Scores, settings: Settings) -> Tensor:
    """1 - s(r_w) + s(r_l): w up, l down; for answers w better than the model's own.

    APO-zero, D'Oosterlinck et al. 2024, arXiv:2408.06266, eq. 7.
    """
    r = settings.beta * scores.h
    return (-r[:, 0]).sigmoid() + r[:, 1].sigmoid()


def apo_down(scores: Scores, settings: Settings) -> Tensor:
    """s(r_w) + 1 - s(r_w - r_l): both down, l more; for answers w worse than the model's own. APO-down, eq. 8."""
    r = settings.beta * scores.h
    return r[:, 0].sigmoid() + (r[:, 1] - r[:, 0]).sigmoid()


# From the general to the special; the names are those of core.contract.losses.
LOSSES: dict[LossName, Loss] = {
    "sigmoid": sigmoid,
    "sigmoid_norm": sigmoid_norm,
    "robust": robust,
    "hinge": hinge,
    "ipo": ipo,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "dpop": dpop,
    "nca_pair": nca_pair,
    "bco_pair": bco_pair,
    "sppo_hard": sppo_hard,
    "exo_pair": exo_pair,
    "ld": ld,
    "simpo": simpo,
    "orpo": orpo,
    "kto": kto,
    "s_dpo": s_dpo,
    "plackett_luce": plackett_luce,
}


def preference(scores: Scores, settings: Settings) -> Tensor:
    """The loss of each example [n] by its formula alone: before `weight` and `nll_weight`."""
    return LOSSES[settings.loss](scores, settings)


def negative_log_likelihood(scores: Scores) -> Tensor:
    """-log pi(y_w | x) / |w| of the preferred answers [n]: what `nll_weight` adds (RPO, Pang et al. 2024,
    arXiv:2404.19733, eq. 1), so that winning does not mean that w, too, becomes less likely.
    """
    return -scores.policy[:, 0] / scores.lengths[:, 0]


def loss(scores: Scores, settings: Settings) -> Tensor:
    """weight x preference + nll_weight x NLL of each example [n]: an example's weight does not touch its NLL."""
    weighted = scores.weight * preference(scores, settings)
    if not settings.nll_weight:
        return weighted
    return weighted + settings.nll_weight * negative_log_likelihood(scores)


def share(per_example: Tensor, weight: float, batch_examples: int, ranks: int) -> Tensor:
    """What a micro-batch adds to the loss of its global batch: a mean over the *global* batch's examples.

    DeepSpeed averages gradients over the ranks, hence `ranks`; `weight` is 0 for a row that only keeps a rank in step.
    """
    return per_example.sum() * (weight * ranks / batch_examples)


def kl(h_mismatched: Tensor) -> Tensor:
    """max(0, mean h) over answers put behind prompts they do not belong to: an estimate of KL(policy || reference).

    Over the whole global batch and without gradient. KTO, section 4.
    """
    return h_mismatched.detach().mean().clamp(min=0)


def compared(scores: Scores, settings: Settings) -> Tensor:
    """What the loss compares, and so what the rewards are made of [n, K]: h, or log pi where there is no reference, a
    mean over tokens where the loss has means. docs/figures.md lists it by loss.
    """
    facts = LOSS_FACTS[settings.loss]
    seen = tails_discounted(scores, settings.ld_alpha) if settings.loss == "ld" else scores
    moved = seen.h if facts.reference else seen.policy
    return moved / scores.lengths if facts.a_token else moved


def rewards(scores: Scores, settings: Settings) -> tuple[Tensor, Tensor]:
    """r = beta h of the preferred answer, and its mean over the others [n]; of a single answer (kto) twice the same."""
    beta = settings.orpo_lambda if settings.loss == "orpo" else settings.beta
    r = beta * compared(scores, settings).detach()
    if settings.loss == "kto":
        return r[:, 0], r[:, 0]
    others = scores.there[:, 1:]
    return r[:, 0], torch.where(others, r[:, 1:], 0).sum(dim=1) / others.sum(dim=1)


def wins(scores: Scores, settings: Settings) -> Tensor:
    """The share of the other answers that the preferred one is ahead of [n]; for a single answer (kto), of z0.

    A lead below 1e-4 a token is rounding, and counts a half.
    """
    h = compared(scores, settings).detach()
    lengths = torch.ones_like(h) if LOSS_FACTS[settings.loss].a_token else scores.lengths
    if settings.loss == "kto":
        lead, others = torch.where(scores.label[:, None], h - scores.kl, scores.kl - h), scores.there
    else:
        lead, others = h[:, :1] - h[:, 1:], scores.there[:, 1:]
        lengths = torch.maximum(lengths[:, :1], lengths[:, 1:])
    won = torch.where(lead.abs() < 1e-4 * lengths, 0.5, (lead > 0).to(h.dtype))
    return torch.where(others, won, 0).sum(dim=1) / others.sum(dim=1)
