"""Whether a linear model on the surface tells the better answer: by how much, on what, and not from noise."""

import random

import pytest

from tests.unit.preferences.checks.planted import clean, dosed, found


def test_two_answers_of_one_kind_cannot_be_told_apart():
    # So few that a model which had seen them would find an order in their noise.
    found_by_seed = [found(clean(220, seed))["trivially_separable"] for seed in range(4)]
    assert {each.severity for each in found_by_seed} == {"info"}
    assert sum(each.value for each in found_by_seed) / 4 == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("dose", "severity"), [(0.4, "info"), (0.9, "warn"), (1.0, "block")])
def test_a_full_stop_that_gives_chosen_away(dose, severity):
    def unstopped(row, draw):
        return {**row, "chosen": row["chosen"].rstrip(".!") + "!!", "rejected": row["rejected"].rstrip(".!") + "."}

    auc = found(dosed(clean(400), dose, unstopped))["trivially_separable"]
    assert auc.severity == severity
    # Of the pairs without the fault one half comes out right by chance.
    assert auc.value == pytest.approx(dose + (1 - dose) * 0.5, abs=0.06)
    if dose == 1:
        assert auc.detail["strongest"] in ("exclamation marks", "ends with a full stop", "punctuation")


def test_the_first_word_is_a_shortcut_too():
    rows = dosed(clean(400), 0.8, lambda row, draw: {**row, "chosen": f"Certainly {row['chosen']}"})
    assert found(rows)["trivially_separable"].severity == "warn"


def test_single_answers_are_told_by_their_label():
    draw = random.Random(0)
    rows = [{"prompt": row["prompt"], "completion": row["chosen"], "label": draw.random() < 0.5} for row in clean(400)]
    assert found(rows)["trivially_separable"].severity == "info"
    loud = [{**row, "completion": row["completion"] + "!!!" * row["label"]} for row in rows]
    assert found(loud)["trivially_separable"].value > 0.95


def test_few_rows_show_nothing():
    finding = found(clean(120))["trivially_separable"]
    assert (finding.severity, finding.value) == ("info", None)
    assert "200" in finding.detail["reason"]


def test_the_same_file_gives_the_same_figures():
    assert found(clean(300))["trivially_separable"] == found(clean(300))["trivially_separable"]
