"""The value of each loss before the first step, from the plan's table, and what rounding may do to it."""

import math

import pytest
import torch

from core.contract.losses import LOSSES, LossName
from tests.scores import NAMES, answers_of, auto, make_scores, unmoved
from trainer.at_start import at_start, rounding
from trainer.losses import preference

LN2 = math.log(2)
# With `auto` settings and three answers in a list.
TABLE: dict[LossName, float] = {
    "sigmoid": LN2,
    "sigmoid_norm": LN2,
    "robust": LN2,
    "hinge": 1,
    "ipo": 25,
    "apo_zero": 1,
    "apo_down": 1,
    "dpop": LN2,
    "nca_pair": 2 * LN2,
    "bco_pair": 2 * LN2,
    "sppo_hard": 500_000,
    "exo_pair": -LN2 - 0.5 * math.log(1e-3 * (1 - 1e-3)),
    "ld": LN2,
    "kto": 0.5,
    "s_dpo": math.log(3),
    "plackett_luce": math.log(6),
}
WITH_REFERENCE = [name for name in NAMES if LOSSES[name].reference]


def test_every_loss_with_a_reference_has_a_start() -> None:
    assert list(TABLE) == WITH_REFERENCE


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_where_nothing_has_moved_the_loss_is_its_start(name: LossName) -> None:
    scores, settings = unmoved(make_scores(answers_of(name))), auto(name)
    found = preference(scores, settings)
    assert found.tolist() == pytest.approx([TABLE[name]] * 3, rel=1e-12)
    start = at_start(scores, settings)
    assert start is not None
    assert start.tolist() == pytest.approx([TABLE[name]] * 3, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("sigmoid", {"label_smoothing": 0.2, "margin_weight": 1.5}),
        ("sigmoid_norm", {"label_smoothing": 0.2, "margin_weight": 1.5}),
        ("ld", {"label_smoothing": 0.4, "margin_weight": 0.1}),
        ("robust", {"label_smoothing": 0.3}),
        ("ipo", {"beta": 0.7}),
        ("sppo_hard", {"beta": 0.5}),
        ("exo_pair", {"label_smoothing": 0.3}),
        ("kto", {"desirable_weight": 1.5, "undesirable_weight": 0.5}),
        ("s_dpo", {}),
        ("plackett_luce", {}),
    ],
)
def test_the_start_knows_the_examples(name: LossName, others: dict[str, float]) -> None:
    """Confidence, margins, labels and lists of different lengths."""
    scores = unmoved(make_scores(answers_of(name), confidence=[1.0, 0.7, 0.55], margin=[0.5, 3.0, 0.0]))
    if answers_of(name) == 3:
        scores = scores._replace(there=torch.tensor([[True] * 3, [True, True, False], [True] * 3]))
    start = at_start(scores, auto(name, **others))
    assert start is not None
    assert start.tolist() == pytest.approx(preference(scores, auto(name, **others)).tolist(), rel=1e-12)


@pytest.mark.parametrize("name", ["simpo", "orpo"])
def test_without_a_reference_the_data_decides(name: LossName) -> None:
    assert at_start(make_scores(), auto(name)) is None


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_rounding_explains_what_a_small_h_does_to_the_loss(name: LossName) -> None:
    """h of a hundred-thousandth of a nat either way: no more than twice its first order, and not nothing."""
    settings, scores = auto(name), unmoved(make_scores(answers_of(name)))
    shift = torch.tensor([-1e-5, 1e-5, 2e-5], dtype=torch.float64)[: answers_of(name)]
    moved = scores._replace(policy=scores.reference + shift, heads=scores.reference_heads + shift)
    off, explained = preference(moved, settings) - preference(scores, settings), rounding(moved, settings)
    assert (off.abs() <= 2 * explained + 1e-9 * (1 + preference(scores, settings))).all()
    assert (explained > 0).all()
    assert not explained.requires_grad
