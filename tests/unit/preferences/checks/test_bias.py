"""What tells the better answer on sight: planted, measured within a point, silent on the clean file."""

import pytest

from tests.unit.preferences.checks.planted import clean, dosed, quickly, report

CODES = ("length_bias", "format_bias", "refusal_skew")


def with_mark(row, draw):
    return {**row, "chosen": f"# Answer\n\n- {row['chosen']}"}


def refusing(row, draw):
    return {**row, "rejected": f"I’m sorry, but I cannot say. {row['rejected']}"}


def longer(row, draw):
    return {**row, "chosen": f"{row['chosen']} {row['chosen']}"}


def test_a_clean_file_shows_no_bias():
    findings = quickly(clean())
    assert [findings[code].severity for code in CODES] == ["info"] * 3
    assert findings["length_bias"].value == pytest.approx(0.5, abs=0.08)
    assert findings["length_bias"].detail["low"] < 0.5 < findings["length_bias"].detail["high"]
    assert "position_bias" not in findings


def test_a_length_shortcut_is_measured():
    bias = quickly(dosed(clean(), 0.6, longer))["length_bias"]
    assert bias.severity == "warn"
    assert bias.value == pytest.approx(0.6 + 0.4 * 0.5, abs=0.05)
    assert bias.detail["low"] < bias.value < bias.detail["high"]
    assert bias.detail["median_ratio"] > 1.3
    assert bias.examples[0].note.startswith("chosen ")


def test_answers_of_equal_length_are_no_bias():
    rows = [{"prompt": row["prompt"], "chosen": "Right", "rejected": "Wrong"} for row in clean(200)]
    assert quickly(rows)["length_bias"].value == 0.5


def test_mark_up_on_one_side_is_named_with_its_dose():
    bias = quickly(dosed(clean(), 0.30, with_mark))["format_bias"]
    assert bias.severity == "warn"
    assert bias.value == pytest.approx(30.0)
    assert bias.detail["mark"] in ("list", "heading")
    assert bias.detail["rates"]["heading"] == {"chosen": 0.3, "rejected": 0.0}
    assert (bias.count, bias.detail["more_in"]) == (120, "chosen")
    assert quickly(dosed(clean(), 0.15, with_mark))["format_bias"].severity == "info"


def test_refusals_on_one_side_are_counted():
    skew = quickly(dosed(clean(), 0.15, refusing))["refusal_skew"]
    assert (skew.severity, skew.count, skew.detail["more_in"]) == ("warn", 60, "rejected")
    assert skew.value == pytest.approx(15.0)
    assert len(skew.examples) == 20


def test_the_sides_of_single_answers_are_wanted_and_unwanted():
    rows = [
        {"prompt": row["prompt"], "completion": row["chosen"] * (1 + (at % 2)), "label": at % 2 == 1}
        for at, row in enumerate(clean(400))
    ]
    bias = quickly(rows)["length_bias"]
    assert bias.severity == "warn"
    assert bias.value > 0.9


def test_the_first_place_wins_too_often():
    rows = [{**row, "chosen_position": 1 + (at % 4 == 0)} for at, row in enumerate(clean())]
    bias = quickly(rows)["position_bias"]
    assert (bias.severity, bias.value, bias.count) == ("warn", 0.75, 300)
    even = [{**row, "chosen_position": "ab"[at % 2]} for at, row in enumerate(clean())]
    assert quickly(even)["position_bias"].severity == "info"


def test_few_pairs_are_no_evidence():
    findings = quickly(dosed(clean(12), 1.0, longer)[:9] + clean(3, seed=5))
    assert findings["format_bias"].severity == "info"


def test_a_file_that_cannot_be_used_has_no_report():
    made = report(clean(3))
    assert (made.error.code, made.checks, made.verdict) == ("too_few_pairs", [], None)


def test_no_checks_are_made_where_none_are_asked():
    made = report(clean(20), checks="none")
    assert (made.error, made.checks, made.verdict) == (None, [], None)
