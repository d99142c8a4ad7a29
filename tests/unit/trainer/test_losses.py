"""Every loss against numbers worked out by hand, its value at the start, its gradient, and its relatives."""

from math import exp, log, log1p
from typing import Any

import pytest
import torch
from torch import Tensor

from core.contract.losses import LOSSES as FACTS
from core.contract.run_spec import Settings
from trainer.at_start import at_start, rounding
from trainer.losses import LOSSES, Scores, kl, loss, negative_log_likelihood, preference, rewards, share, wins

# log pi, log pi_ref, tokens of chosen and rejected; the sums over the shared five tokens.
POLICY, REFERENCE, LENGTHS = (-12.0, -9.0), (-13.0, -7.5), (8.0, 5.0)
HEADS, REFERENCE_HEADS = (-7.0, -9.0), (-7.4, -7.5)
H = (1.0, -1.5)
D = 2.5


def ls(z: float) -> float:
    return -log1p(exp(-z))


def s(z: float) -> float:
    return 1 / (1 + exp(-z))


def made(policy: Any = (POLICY,), reference: Any = (REFERENCE,), **given: Any) -> Scores:
    p, r = torch.tensor(policy, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    count = len(p)
    one = torch.ones(count, dtype=torch.float64)
    fields: dict[str, Tensor] = {
        "lengths": torch.tensor([LENGTHS[: p.shape[1]]] * count, dtype=torch.float64)
        if p.shape[1] <= 2
        else torch.full_like(p, 6.0),
        "heads": torch.tensor([HEADS] * count, dtype=torch.float64) if p.shape[1] == 2 else p,
        "reference_heads": torch.tensor([REFERENCE_HEADS] * count, dtype=torch.float64) if p.shape[1] == 2 else r,
        "there": torch.ones_like(p, dtype=torch.bool),
        "weight": one,
        "confidence": one,
        "margin": 0 * one,
        "label": one.bool(),
        "kl": torch.zeros((), dtype=torch.float64),
    }
    for name, value in given.items():
        fields[name] = torch.as_tensor(value)
        if fields[name].dtype == torch.float32:
            fields[name] = torch.as_tensor(value, dtype=torch.float64)
    return Scores(p, r, **fields)


def settings(name: str, **given: Any) -> Settings:
    return Settings(loss=name, **{**FACTS[name].auto, **given})  # type: ignore[index,arg-type]


NORMED = H[0] / 8 - H[1] / 5
MEAN = (-12 / 8, -9 / 5)
# ld: the tail beyond five tokens counts half; rejected has none.
LD = (-7.0 + 0.5 * (-12 + 7)) - (-7.4 + 0.5 * (-13 + 7.4)) - (-1.5)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], float]] = [
    ("sigmoid", {}, {}, -ls(0.1 * D)),
    ("sigmoid", {"label_smoothing": 0.2}, {}, -0.8 * ls(0.1 * D) - 0.2 * ls(-0.1 * D)),
    ("sigmoid", {"label_smoothing": 0.1}, {"confidence": [0.75]}, -0.7 * ls(0.1 * D) - 0.3 * ls(-0.1 * D)),
    ("sigmoid", {"margin_weight": 0.5}, {"margin": [2.0]}, -ls(0.1 * D - 1.0)),
    ("sigmoid_norm", {}, {}, -ls(5 * NORMED)),
    ("robust", {"label_smoothing": 0.2}, {}, (-0.8 * ls(0.1 * D) + 0.2 * ls(-0.1 * D)) / 0.6),
    ("hinge", {}, {}, 1 - 0.05 * D),
    ("ipo", {}, {}, (NORMED - 5) ** 2),
    ("apo_zero", {}, {}, 1 - s(0.1) + s(-0.15)),
    ("apo_down", {}, {}, s(0.1) + 1 - s(0.25)),
    ("dpop", {}, {}, -ls(0.3 * D)),
    ("nca_pair", {}, {}, -ls(0.01) - 0.5 * ls(-0.01) - 0.5 * ls(0.015)),
    ("bco_pair", {}, {}, -ls(0.01) - ls(0.015)),
    ("sppo_hard", {}, {}, (1 - 500) ** 2 + (-1.5 + 500) ** 2),
    (
        "exo_pair",
        {},
        {},
        s(0.1 * D) * (ls(0.1 * D) - log(1 - 1e-3)) + s(-0.1 * D) * (ls(-0.1 * D) - log(1e-3)),
    ),
    ("ld", {}, {}, -ls(0.1 * LD)),
    ("simpo", {}, {}, -ls(2 * (MEAN[0] - MEAN[1]) - 1.0)),
    (
        "orpo",
        {},
        {},
        12 / 8 - 0.1 * ls((MEAN[0] - MEAN[1]) - (log1p(-exp(MEAN[0])) - log1p(-exp(MEAN[1])))),
    ),
]


@pytest.mark.parametrize(("name", "chosen", "given", "expected"), CASES)
def test_by_hand(name: str, chosen: dict[str, Any], given: dict[str, Any], expected: float) -> None:
    found = preference(made(**given), settings(name, **chosen))
    assert found.tolist() == pytest.approx([expected], rel=1e-12)


def test_dpop_punishes_a_chosen_answer_that_falls() -> None:
    found = preference(made(policy=[(-14.0, -9.0)]), settings("dpop"))
    assert float(found) == pytest.approx(-ls(0.3 * (0.5 - 50 * 1.0)))


@pytest.mark.parametrize(("label", "expected"), [(True, 1.5 * s(-(0.1 * (1.0 - 0.4)))), (False, 0.5 * s(0.1 * 0.6))])
def test_kto_by_hand(label: bool, expected: float) -> None:
    single = made(policy=[POLICY[:1]], reference=[REFERENCE[:1]], label=[label], kl=torch.tensor(0.4).double())
    found = preference(single, settings("kto", desirable_weight=1.5, undesirable_weight=0.5))
    assert float(found) == pytest.approx(expected)


def test_lists_by_hand() -> None:
    h = [2.0, -1.0, 0.5]
    listed = made(policy=[h], reference=[(0.0, 0.0, 0.0)])
    assert float(preference(listed, settings("s_dpo"))) == pytest.approx(-ls(-log(exp(-3) + exp(-1.5))))
    first = log(sum(map(exp, h))) - h[0]
    second = log(exp(-1) + exp(0.5)) + 1
    assert float(preference(listed, settings("plackett_luce"))) == pytest.approx(first + second)


@pytest.mark.parametrize("name", ["s_dpo", "plackett_luce"])
def test_lists_are_dpo_for_two_and_ignore_what_is_not_there(name: str) -> None:
    chosen = settings(name, beta=0.1)
    two = preference(made(), chosen)
    assert float(two) == pytest.approx(-ls(0.1 * D))
    wide = made(policy=[(*POLICY, 99.0)], reference=[(*REFERENCE, -99.0)], there=[[True, True, False]])
    assert torch.equal(preference(wide, chosen), two)


@pytest.mark.parametrize("name", [name for name in LOSSES if FACTS[name].reference])
def test_the_value_at_the_start(name: str) -> None:
    width = {"single": 1, "list": 4, "pair": 2}[FACTS[name].unit]
    policy = [[-3.0 - i for i in range(width)]] * 2
    still = made(policy=policy, reference=policy, label=[True, False], margin=[0.5, 0.0], confidence=[0.8, 1.0])
    still = still._replace(reference_heads=still.heads)
    chosen = settings(name)
    if name == "sigmoid":
        chosen = settings(name, label_smoothing=0.1, margin_weight=2.0)
    expected = at_start(still, chosen)
    assert expected is not None
    assert preference(still, chosen).tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert rounding(still, chosen).tolist() == [0.0, 0.0]


def test_the_table_of_start_values() -> None:
    table = {
        "sigmoid": log(2), "sigmoid_norm": log(2), "robust": log(2), "hinge": 1, "ipo": 25, "apo_zero": 1,
        "apo_down": 1, "dpop": log(2), "nca_pair": 2 * log(2), "bco_pair": 2 * log(2), "sppo_hard": 500_000,
        "exo_pair": -log(2) - 0.5 * log(1e-3 * (1 - 1e-3)), "ld": log(2), "s_dpo": log(2), "plackett_luce": log(2),
    }  # fmt: skip
    still = made(policy=[POLICY], reference=[POLICY], reference_heads=[HEADS])
    for name, value in table.items():
        assert float(preference(still, settings(name))) == pytest.approx(value), name
    single = made(policy=[(-3.0,)], reference=[(-3.0,)])
    assert float(preference(single, settings("kto"))) == 0.5


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("far", [1.0, 300.0])
def test_gradients_by_differences_and_finite_far_out(name: str, far: float) -> None:
    width = {"single": 1, "list": 3, "pair": 2}[FACTS[name].unit]
    policy = -torch.tensor([[3.1, 4.7, 2.2][:width], [9.3, 1.9, 5.8][:width]], dtype=torch.float64) * far
    base = made(policy=policy.tolist(), reference=[[-4.0] * width] * 2, label=[True, False])
    base = base._replace(lengths=torch.full_like(policy, 4.0), kl=torch.tensor(0.3, dtype=torch.float64))
    chosen = settings(name)

    def value(p: Tensor) -> Tensor:
        return loss(base._replace(policy=p, heads=0.5 * p), chosen)

    p = policy.clone().requires_grad_()
    found = value(p)
    (gradient,) = torch.autograd.grad(found.sum(), p)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    if far == 1.0:
        assert torch.autograd.gradcheck(value, (p,))


def test_weight_and_nll() -> None:
    both = made(policy=[POLICY, POLICY], reference=[REFERENCE, REFERENCE], weight=[2.0, 0.0])
    found = loss(both, settings("sigmoid", nll_weight=0.5))
    assert found.tolist() == pytest.approx([-2 * ls(0.1 * D) + 0.5 * 1.5, 0.5 * 1.5])
    assert negative_log_likelihood(both).tolist() == [1.5, 1.5]


def test_shares_of_micro_batches_add_up_to_the_mean() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 6.0, 8.0])
    ranks = [[values[:2], values[2:3]], [values[3:], values[:1]]]
    weights = [[1, 1], [1, 0]]
    total = sum(
        float(share(row, weight, 5, 2))
        for rows, own in zip(ranks, weights, strict=True)
        for row, weight in zip(rows, own, strict=True)
    )
    assert total / 2 == pytest.approx(float(values.mean()))


def test_rewards_and_wins() -> None:
    chosen, rejected = rewards(made(), settings("sigmoid"))
    assert (float(chosen), float(rejected)) == pytest.approx((0.1, -0.15))
    assert wins(made(), settings("sigmoid")).tolist() == [1.0]
    assert wins(made(policy=[(-14.0, -7.0)]), settings("sigmoid")).tolist() == [0.0]
    assert wins(made(policy=[REFERENCE]), settings("sigmoid")).tolist() == [0.5]
    listed = made(policy=[(1.0, 2.0, 0.0, -1.0)], reference=[(0.0,) * 4])
    assert wins(listed, settings("s_dpo")).tolist() == pytest.approx([2 / 3])


def test_kl_is_never_below_zero() -> None:
    assert float(kl(torch.tensor([-3.0, 1.0]))) == 0
    assert float(kl(torch.tensor([3.0, 1.0]))) == 2
