"""Every loss against its formula written out with plain floats, answer by answer."""

import math
from collections.abc import Callable
from itertools import permutations

import pytest

from core.contract.losses import LossName
from core.contract.run_spec import Settings
from tests.scores import (
    HEADS,
    LENGTHS,
    NAMES,
    POLICY,
    REFERENCE,
    REFERENCE_HEADS,
    answers_of,
    auto,
    make_scores,
)
from trainer.losses import LOSSES, loss, negative_log_likelihood, preference

H = [[p - q for p, q in zip(*rows, strict=True)] for rows in zip(POLICY, REFERENCE, strict=True)]
CONFIDENCE, MARGIN, WEIGHT, LABEL, KL = [1.0, 0.7, 0.55], [0.5, 2.0, 0.0], [0.0, 2.0, 0.5], [True, False, True], 0.25


def s(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def soft(z: float, i: int, settings: Settings) -> float:
    """Binary cross-entropy with a soft label and a margin."""
    z -= settings.margin_weight * MARGIN[i]
    e, c = settings.label_smoothing, CONFIDENCE[i]
    p = c * (1 - e) + (1 - c) * e
    return -p * math.log(s(z)) - (1 - p) * math.log(s(-z))


def per_token(i: int, table: list[list[float]] = H) -> list[float]:
    return [value / length for value, length in zip(table[i], LENGTHS[i], strict=True)]


def ld_h(i: int, alpha: float) -> list[float]:
    """Tail tokens weigh alpha: the sums of heads and tails, of policy and reference."""
    return [
        (HEADS[i][k] + alpha * (POLICY[i][k] - HEADS[i][k]))
        - (REFERENCE_HEADS[i][k] + alpha * (REFERENCE[i][k] - REFERENCE_HEADS[i][k]))
        for k in range(3)
    ]


def robust(i: int, t: Settings) -> float:
    z, e = t.beta * (H[i][0] - H[i][1]), t.label_smoothing
    return ((1 - e) * -math.log(s(z)) - e * -math.log(s(-z))) / (1 - 2 * e)


def exo_pair(i: int, t: Settings) -> float:
    """KL(q || p) with q the policy's choice and p = (1-e, e)."""
    q = s(t.beta * (H[i][0] - H[i][1]))
    e = t.label_smoothing
    return q * math.log(q / (1 - e)) + (1 - q) * math.log((1 - q) / e)


def dpop(i: int, t: Settings) -> float:
    return -math.log(s(t.beta * (H[i][0] - H[i][1] - t.dpop_lambda * max(0.0, -H[i][0]))))


def simpo(i: int, t: Settings) -> float:
    mean = per_token(i, POLICY)
    return -math.log(s(t.beta * mean[0] - t.beta * mean[1] - t.simpo_gamma_ratio * t.beta))


def orpo(i: int, t: Settings) -> float:
    w, l = (math.exp(mean) for mean in per_token(i, POLICY)[:2])  # noqa: E741
    ratio = (w / (1 - w)) / (l / (1 - l))
    return -math.log(w) - t.orpo_lambda * math.log(s(math.log(ratio)))


def kto(i: int, t: Settings) -> float:
    r, z0 = t.beta * H[i][0], t.beta * KL
    return t.desirable_weight * (1 - s(r - z0)) if LABEL[i] else t.undesirable_weight * (1 - s(z0 - r))


def s_dpo(i: int, t: Settings) -> float:
    return -math.log(s(-math.log(sum(math.exp(t.beta * (h - H[i][0])) for h in H[i][1:]))))


def plackett_luce(i: int, t: Settings) -> float:
    """Drawn one by one without putting back, each with a chance as exp(r)."""
    chances = [math.exp(t.beta * h) for h in H[i]]
    return -math.log(math.prod(chances[k] / sum(chances[k:]) for k in range(3)))


def reward(i: int, t: Settings) -> list[float]:
    return [t.beta * h for h in H[i]]


BY_HAND: dict[LossName, Callable[[int, Settings], float]] = {
    "sigmoid": lambda i, t: soft(t.beta * (H[i][0] - H[i][1]), i, t),
    "sigmoid_norm": lambda i, t: soft(t.beta * (per_token(i)[0] - per_token(i)[1]), i, t),
    "robust": robust,
    "hinge": lambda i, t: max(0.0, 1 - t.beta * (H[i][0] - H[i][1])),
    "ipo": lambda i, t: (per_token(i)[0] - per_token(i)[1] - 1 / (2 * t.beta)) ** 2,
    "apo_zero": lambda i, t: 1 - s(reward(i, t)[0]) + s(reward(i, t)[1]),
    "apo_down": lambda i, t: s(reward(i, t)[0]) + 1 - s(reward(i, t)[0] - reward(i, t)[1]),
    "dpop": dpop,
    "nca_pair": lambda i, t: (
        -math.log(s(reward(i, t)[0])) - 0.5 * math.log(s(-reward(i, t)[0])) - 0.5 * math.log(s(-reward(i, t)[1]))
    ),
    "bco_pair": lambda i, t: -math.log(s(reward(i, t)[0])) - math.log(s(-reward(i, t)[1])),
    "sppo_hard": lambda i, t: (H[i][0] - 1 / (2 * t.beta)) ** 2 + (H[i][1] + 1 / (2 * t.beta)) ** 2,
    "exo_pair": exo_pair,
    "ld": lambda i, t: soft(t.beta * (ld_h(i, t.ld_alpha)[0] - ld_h(i, t.ld_alpha)[1]), i, t),
    "simpo": simpo,
    "orpo": orpo,
    "kto": kto,
    "s_dpo": s_dpo,
    "plackett_luce": plackett_luce,
}
# Beside the automatic settings: every other setting of each loss at a value that shows in the result.
OTHERS: dict[LossName, list[dict[str, float]]] = {
    "sigmoid": [{"label_smoothing": 0.1}, {"margin_weight": 1.5}, {"label_smoothing": 0.3, "margin_weight": 0.5}],
    "sigmoid_norm": [{"label_smoothing": 0.2, "margin_weight": 0.7}],
    "ld": [{"ld_alpha": 0.0}, {"ld_alpha": 1.0}, {"ld_alpha": 0.3, "label_smoothing": 0.2, "margin_weight": 0.7}],
    "robust": [{"label_smoothing": 0.0}, {"label_smoothing": 0.4}],
    "dpop": [{"dpop_lambda": 0.0}, {"dpop_lambda": 3.0}],
    "exo_pair": [{"label_smoothing": 0.3}],
    "simpo": [{"simpo_gamma_ratio": 0.0}, {"simpo_gamma_ratio": 1.2}],
    "orpo": [{"orpo_lambda": 2.0}],
    "kto": [{"desirable_weight": 1.33, "undesirable_weight": 0.7}],
}
CASES = [
    (name, {**beta, **other})
    for name in NAMES
    for other in [{}, *OTHERS.get(name, [])]
    for beta in [{}, *([] if name == "orpo" else [{"beta": 0.02}, {"beta": 0.8}])]
]


def test_the_table_has_every_loss_of_the_contract_in_its_order() -> None:
    assert tuple(LOSSES) == NAMES


@pytest.mark.parametrize(("name", "others"), CASES)
def test_a_loss_is_its_formula(name: LossName, others: dict[str, float]) -> None:
    settings = auto(name, **others)
    scores = make_scores(answers_of(name), confidence=CONFIDENCE, margin=MARGIN)
    expected = [BY_HAND[name](i, settings) for i in range(3)]
    assert preference(scores, settings).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weight_multiplies_the_preference_and_not_the_likelihood(name: LossName) -> None:
    settings = auto(name, nll_weight=0.6)
    scores = make_scores(answers_of(name), weight=WEIGHT)
    nll = [-POLICY[i][0] / LENGTHS[i][0] for i in range(3)]
    alone = preference(scores, settings).tolist()
    expected = [w * one + 0.6 * more for w, one, more in zip(WEIGHT, alone, nll, strict=True)]
    assert negative_log_likelihood(scores).tolist() == pytest.approx(nll, rel=1e-12)
    assert loss(scores, settings).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_chances_of_all_orders_add_up_to_one() -> None:
    settings, total = auto("plackett_luce", beta=0.7), 0.0
    for order in permutations(range(3)):
        policy, reference = ([[row[k] for k in order] for row in table] for table in (POLICY, REFERENCE))
        total += math.exp(-float(preference(make_scores(3, policy=policy, reference=reference), settings)[0]))
    assert total == pytest.approx(1)
