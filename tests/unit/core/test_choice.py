"""What is refused of a loss: settings that it does not use, data that cannot serve it."""

from typing import Any

import pytest

from core.contract import bands
from core.contract.choice import AT, check_data, check_settings, loss_of
from core.contract.errors import BadInput
from core.contract.job_spec import DpoHyperparameters
from core.contract.losses import LOSSES, OWN_SETTINGS, LossName
from core.contract.preference import Kind

VALUES = dict.fromkeys(OWN_SETTINGS, 0.25)


def asked(**settings: Any) -> DpoHyperparameters:
    return DpoHyperparameters.model_validate(settings)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("setting", sorted(OWN_SETTINGS))
def test_each_loss_takes_its_own_settings_and_no_other(loss: LossName, setting: str) -> None:
    wanted = asked(loss=loss, **{setting: VALUES[setting]})
    if setting in LOSSES[loss].auto:
        check_settings(wanted, loss)
        return
    with pytest.raises(BadInput) as refused:
        check_settings(wanted, loss)
    assert (refused.value.code, refused.value.param) == ("setting_not_used", f"{AT}.{setting}")
    users = [each for each, facts in LOSSES.items() if setting in facts.auto]
    assert f"Loss {loss} " in refused.value.message
    assert all(each in refused.value.message for each in users)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("setting", "value"), [("ties", "half"), ("annotators", "confidence")])
def test_soft_labels_only_where_the_loss_uses_a_confidence(loss: LossName, setting: str, value: str) -> None:
    wanted = asked(loss=loss, **{setting: value})
    if loss in ("sigmoid", "sigmoid_norm", "ld"):
        check_settings(wanted, loss)
        return
    with pytest.raises(BadInput, match="sigmoid, sigmoid_norm, ld") as refused:
        check_settings(wanted, loss)
    assert (refused.value.code, refused.value.param) == ("setting_not_used", f"{AT}.{setting}")
    check_settings(asked(loss=loss, ties="drop", annotators="ignore"), loss)


def test_a_ranking_has_margins_by_its_ranks() -> None:
    check_data(asked(loss="sigmoid", margin_weight=0.5), "ranking", [], param="training_file")
    with pytest.raises(BadInput, match="margin"):
        check_data(asked(loss="sigmoid", margin_weight=0.5), "pair", [], param="training_file")


def test_before_the_data_is_known_only_what_no_candidate_uses_is_refused() -> None:
    check_settings(asked(desirable_weight=2.0), None)
    check_settings(asked(label_smoothing=0.1), None)
    with pytest.raises(BadInput, match="sigmoid or kto"):
        check_settings(asked(ld_alpha=0.1), None)


@pytest.mark.parametrize(
    ("loss", "setting", "taken", "refused"),
    [
        ("robust", "label_smoothing", [0.0, 0.499], [0.5, 0.7]),
        ("exo_pair", "label_smoothing", [1e-9, 0.7], [0.0]),
        ("sigmoid", "label_smoothing", [0.0, 0.5], [0.501]),
        ("sigmoid_norm", "label_smoothing", [0.5], [0.501]),
        ("ld", "label_smoothing", [0.5], [0.501]),
        ("auto", "label_smoothing", [0.5], [0.501]),
        ("ipo", "beta", [1e-6], [1e-9, 1e-300]),
        ("sppo_hard", "beta", [1e-6], [1e-9, 1e-300]),
        ("sigmoid", "beta", [1e-300], []),
    ],
)
def test_values_that_one_loss_can_have_and_another_not(
    loss: LossName, setting: str, taken: list[float], refused: list[float]
) -> None:
    known = None if loss == "auto" else loss
    for value in taken:
        check_settings(asked(loss=loss, **{setting: value}), known)
    for value in refused:
        with pytest.raises(BadInput) as found:
            check_settings(asked(loss=loss, **{setting: value}), known)
        assert (found.value.code, found.value.param) == ("out_of_range", f"{AT}.{setting}")
        assert f"`{setting}`" in found.value.message


def test_kto_learns_of_one_side_at_least() -> None:
    check_settings(asked(loss="kto", desirable_weight=0.0), "kto")
    with pytest.raises(BadInput) as found:
        check_settings(asked(loss="kto", desirable_weight=0.0, undesirable_weight=0.0), "kto")
    assert (found.value.code, found.value.param) == ("out_of_range", f"{AT}.desirable_weight")


@pytest.mark.parametrize(("kind", "loss"), [("pair", "sigmoid"), ("ranking", "sigmoid"), ("unpaired", "kto")])
def test_auto_follows_the_data(kind: Kind, loss: LossName) -> None:
    assert loss_of(asked(), kind) == loss
    assert check_data(asked(), kind, [], param="training_file") == loss


@pytest.mark.parametrize(("loss", "kind"), [("sigmoid", "unpaired"), ("kto", "ranking"), ("s_dpo", "unpaired")])
def test_a_loss_that_the_data_cannot_serve(loss: LossName, kind: Kind) -> None:
    with pytest.raises(BadInput) as refused:
        check_data(asked(loss=loss), kind, [], param="training_file")
    assert (refused.value.code, refused.value.param) == ("loss_needs_other_data", f"{AT}.loss")
    assert all(name in refused.value.message for name, facts in LOSSES.items() if kind in facts.data)


@pytest.mark.parametrize("column", ["weight", "confidence"])
def test_columns_that_the_loss_would_ignore(column: str) -> None:
    check_data(asked(), "pair", [column], param="training_file")
    with pytest.raises(BadInput) as refused:
        check_data(asked(loss="ipo"), "pair", [column], param="training_file")
    assert refused.value.code == "loss_needs_other_data"
    assert f"`{column}`" in refused.value.message
    assert "sigmoid_norm" in refused.value.message


@pytest.mark.parametrize(
    ("loss", "kind"), [("kto", "unpaired"), ("kto", "pair"), ("s_dpo", "ranking"), ("plackett_luce", "ranking")]
)
def test_single_answers_and_lists_are_weighed_but_have_no_confidence(loss: LossName, kind: Kind) -> None:
    assert check_data(asked(loss=loss), kind, ["weight"], param="training_file") == loss
    with pytest.raises(BadInput, match="`confidence`"):
        check_data(asked(loss=loss), kind, ["weight", "confidence"], param="training_file")


def test_a_held_out_file_has_to_suit_the_loss_of_the_training_file() -> None:
    with pytest.raises(BadInput) as refused:
        check_data(asked(loss="sigmoid"), "unpaired", [], param="validation_file")
    assert (refused.value.code, refused.value.param) == ("loss_needs_other_data", "validation_file")


def test_margins_are_in_nobodys_way_and_a_weight_of_them_needs_some() -> None:
    check_data(asked(loss="ipo"), "pair", ["margin"], param="training_file")
    check_data(asked(margin_weight=1.0), "pair", ["margin"], param="training_file")
    with pytest.raises(BadInput, match="margin"):
        check_data(asked(margin_weight=1.0), "pair", [], param="training_file")


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        ({}, []),
        ({"learning_rate": 5e-7}, []),
        ({"learning_rate": 1e-3}, ["learning_rate"]),
        ({"learning_rate": 1e-4, "lora": {}}, []),
        ({"learning_rate_multiplier": 100.0}, ["learning_rate"]),
        ({"beta": 50.0, "learning_rate": 1e-9}, ["learning_rate", "beta"]),
        ({"beta": 5.0, "loss": "simpo"}, []),
    ],
)
def test_what_is_warned_of(settings: dict[str, Any], params: list[str]) -> None:
    found = bands.warnings(asked(**settings), settings.get("loss", "sigmoid"))
    assert [param for param, _ in found] == [f"{AT}.{name}" for name in params]
