import json

import pytest

from preferences.check import check_file
from tests.unit.preferences.rows import real

READ = {
    "orca-dpo.openai.jsonl": ("openai_preference", "jsonl"),
    "hh-helpful.train.jsonl.gz": ("hh_rlhf", "jsonl+gzip"),
    "hh-helpful.test.jsonl": ("hh_rlhf", "jsonl"),
}
IDENTICAL = [709, 2010, 2047, 2095, 2115, 2165, 2192, 2238, 2311, 2423, 2500, 2530, 2557, 2565, 2682, 2974]
LATER = [
    "llamafactory.dpo_en_demo.json",
    "qa-feedback.ranked.json",
    "instruction-preference.alpaca.json",
    "persona.interest-in-science.jsonl",
]


@pytest.mark.parametrize("name", READ)
def test_the_figures_of_the_readme_come_out(name):
    figures = json.loads(real("figures.json").read_text())[name]
    report = check_file(real(name))
    assert report.error is None
    assert (report.format, report.container) == READ[name]
    counts = report.counts
    assert (counts.records, counts.pairs, counts.bad) == (figures["records"], figures["pairs"], 0)
    assert counts.identical_pairs == figures["chosen_equals_rejected"]
    assert (counts.empty_chosen, counts.empty_rejected) == (figures["empty_chosen"], figures["empty_rejected"])
    assert counts.chosen_longer == figures["chosen_longer"]
    assert counts.same_length == figures["same_length"]
    assert counts.multi_turn == figures["multi_turn"]
    useless = figures["chosen_equals_rejected"] + figures["empty_rejected"]
    assert (counts.useless, counts.usable) == (useless, figures["records"] - useless)


def test_the_traps_of_hh_stand_on_their_lines():
    report = check_file(real("hh-helpful.train.jsonl.gz"))
    assert [error.line for error in report.errors if error.code == "chosen_equals_rejected"] == IDENTICAL
    assert report.errors_by_code == {"chosen_equals_rejected": 16, "completion_empty": 3}
    assert (report.counts.chosen_longer, report.counts.multi_turn) == (1767, 2088)
    assert "2,981 pairs taken" in report.status_details


@pytest.mark.parametrize("name", LATER)
def test_the_layouts_of_later_are_refused_politely(name):
    report = check_file(real(name))
    assert report.error.code == "format_unknown"
    assert "openai_preference" in report.error.message
