import json

import pytest

from preferences.check import check_file
from preferences.report import Report
from tests.unit.preferences.rows import real

FOUND = {
    "orca-dpo.openai.jsonl": ("openai_preference", "jsonl"),
    "hh-helpful.train.jsonl.gz": ("hh_rlhf", "jsonl+gzip"),
    "hh-helpful.test.jsonl": ("hh_rlhf", "jsonl"),
    "llamafactory.dpo_en_demo.json": ("llamafactory_sharegpt", "json_array"),
    "instruction-preference.alpaca.json": ("llamafactory_alpaca", "json_array"),
    "qa-feedback.ranked.json": ("mapped", "json_array"),
    "persona.interest-in-science.jsonl": ("mapped", "jsonl"),
}
IDENTICAL = [709, 2010, 2047, 2095, 2115, 2165, 2192, 2238, 2311, 2423, 2500, 2530, 2557, 2565, 2682, 2974]


def read(name: str) -> Report:
    """With the mapping that the error names, where it names one."""
    report = check_file(real(name), checks="none")
    if report.error and report.error.code == "format_unknown":
        _, named, rest = report.error.message.partition("This mapping may do: ")
        assert named
        mapping, _ = json.JSONDecoder().raw_decode(rest)
        return check_file(real(name), checks="none", mapping=mapping)
    return report


@pytest.mark.parametrize("name", FOUND)
def test_the_figures_of_the_readme_come_out(name):
    figures = json.loads(real("figures.json").read_text())[name]
    report = read(name)
    assert report.error is None
    assert (report.format, report.container) == FOUND[name]
    counts = report.counts
    assert (counts.records, counts.pairs, counts.bad) == (figures["records"], figures["pairs"], 0)
    assert counts.exact_duplicates == figures["exact_repeats"]
    assert counts.contradictions == figures["contradictory"]
    assert counts.identical_pairs == figures["chosen_equals_rejected"]
    assert (counts.empty_chosen, counts.empty_rejected) == (figures["empty_chosen"], figures["empty_rejected"])
    assert counts.chosen_longer == figures["chosen_longer"]
    assert counts.same_length == figures["same_length"]
    assert counts.multi_turn == figures["multi_turn"]
    assert counts.distinct_prompts == figures["distinct_prompts"]
    useless = figures["chosen_equals_rejected"] + figures["empty_rejected"]
    assert (counts.useless, counts.usable) == (useless, figures["pairs"] + counts.ties - useless)
    for part in ("prompt", "chosen", "rejected"):
        told = report.lengths[part]
        assert (told.median, told.p95, told.max) == tuple(figures[f"{part}_{at}"] for at in ("median", "p95", "max"))


def test_the_figures_of_single_answers():
    figures = json.loads(real("figures.json").read_text())["llamafactory.kto_en_demo.json"]
    report = read("llamafactory.kto_en_demo.json")
    assert (report.error, report.format, report.container) == (None, "kto", "json_array")
    counts = report.counts
    assert (counts.records, counts.unpaired) == (300, 300)
    assert (counts.desirable, counts.undesirable) == (figures["desirable"], figures["undesirable"])
    assert (counts.exact_duplicates, counts.contradictions) == (0, 0)
    assert (counts.distinct_prompts, counts.multi_turn) == (297, 77)
    told = {name: (spread.median, spread.p95) for name, spread in report.lengths.items()}
    assert told == {"prompt": (485, 6054), "desirable": (1005, 3106), "undesirable": (1014, 3346)}


def test_comparisons_of_qa_feedback_that_are_no_preference_are_ties():
    counts = read("qa-feedback.ranked.json").counts
    assert (counts.records, counts.pairs, counts.ties, counts.usable) == (250, 1349, 151, 1500)


def test_the_traps_of_hh_stand_on_their_lines():
    report = check_file(real("hh-helpful.train.jsonl.gz"), checks="none")
    assert [error.line for error in report.errors if error.code == "chosen_equals_rejected"] == IDENTICAL
    assert report.errors_by_code == {"chosen_equals_rejected": 16, "completion_empty": 3}
    assert "2,981 pairs taken" in report.status_details
