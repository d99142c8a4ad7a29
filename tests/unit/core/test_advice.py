"""`auto` takes what the report recommends, where the loss has the setting; what was asked stays as it was asked."""

from typing import Any

import pytest

from core.contract.advice import Recommended, take
from core.contract.choice import loss_of
from core.contract.job_spec import DpoHyperparameters
from core.contract.preference import Kind

NOISY = Recommended(label_smoothing=0.08, nll_weight=0.1, why=["8% of the labels look turned round."])
LONG = Recommended(loss="sigmoid_norm", label_smoothing=0.05)

VOTED = Recommended(loss="sigmoid", annotators="confidence")


def taken(advised: Recommended, kind: Kind = "pair", columns: tuple[str, ...] = (), **asked: Any) -> dict[str, Any]:
    found = take(DpoHyperparameters.model_validate(asked), kind, columns, advised)
    for name, value in asked.items():
        assert getattr(found.asked, name) == value, "what was asked is touched"
    for name, value in found.settings.items():
        assert getattr(found.asked, name) == value
    return found.settings


@pytest.mark.parametrize(
    ("advised", "asked", "settings"),
    [
        (NOISY, {}, {"label_smoothing": 0.08, "nll_weight": 0.1}),
        (NOISY, {"label_smoothing": 0.0}, {"nll_weight": 0.1}),
        (NOISY, {"loss": "hinge"}, {"nll_weight": 0.1}),
        (NOISY, {"loss": "orpo"}, {}),
        (LONG, {}, {"loss": "sigmoid_norm", "label_smoothing": 0.05}),
        (LONG, {"beta": 0.2}, {"label_smoothing": 0.05}),
        (LONG, {"loss": "sigmoid"}, {"label_smoothing": 0.05}),
        (LONG, {"nll_weight": 0.2}, {"loss": "sigmoid_norm", "label_smoothing": 0.05}),
        (LONG, {"ld_alpha": 0.5, "loss": "ld"}, {"label_smoothing": 0.05}),
        (Recommended(loss="s_dpo"), {"label_smoothing": 0.1}, {}),
        (Recommended(loss="sigmoid", label_smoothing=0.0), {}, {}),
        (Recommended(label_smoothing=0.7), {}, {}),
        (Recommended(loss="no_such_loss"), {}, {}),
        (VOTED, {}, {"annotators": "confidence"}),
        (VOTED, {"annotators": "ignore"}, {}),
        (VOTED, {"loss": "hinge"}, {}),
        (Recommended(), {}, {}),
    ],
)
def test_what_auto_takes(advised: Recommended, asked: dict[str, Any], settings: dict[str, Any]) -> None:
    assert taken(advised, **asked) == settings


def test_a_loss_that_the_data_cannot_serve_is_not_taken() -> None:
    assert taken(Recommended(loss="kto"), "ranking") == {}
    assert taken(Recommended(loss="hinge"), "pair", ("weight",)) == {}
    assert taken(Recommended(loss="plackett_luce"), "ranking", ("weight",)) == {"loss": "plackett_luce"}


def test_single_answers_have_a_default_of_their_own() -> None:
    found = take(DpoHyperparameters(), "unpaired", (), Recommended(loss="kto", label_smoothing=0.1))
    assert (found.settings, loss_of(found.asked, "unpaired")) == ({}, "kto")


def test_the_event_names_settings_and_reasons() -> None:
    message = take(DpoHyperparameters(), "pair", (), NOISY).message
    assert "label_smoothing 0.08, nll_weight 0.1." in message
    assert message.endswith("8% of the labels look turned round.")
