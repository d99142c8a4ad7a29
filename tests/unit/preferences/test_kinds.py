"""Single answers with a label, rankings, and the numbers beside the answers."""

import gzip
import io
import json
import random

import pytest
import zstandard

from core.contract.preference import RankingRecord, UnpairedRecord
from preferences.check import check_file
from tests.unit.preferences.rows import (
    PAIRS,
    among_good,
    check,
    jsonl,
    kto,
    kto_messages,
    openai,
    ranked,
    rated,
    real,
    triple,
    turn,
)
from tests.unit.preferences.test_formats import SCORES, records


@pytest.mark.parametrize("build", [kto, kto_messages])
def test_single_answers(build):
    found = records(jsonl([build(number) for number in range(12)]))
    assert all(isinstance(record, UnpairedRecord) for record in found)
    assert [record.label for record in found[:3]] == [True, False, True]
    assert [(m.role, m.content) for m in found[4].prompt] == [("user", "What is 4 + 1?")]
    assert [(m.role, m.content) for m in found[4].completion] == [("assistant", "It is 5.")]
    assert found[4].origin.model_dump() == {"line": 5, "format": "kto"}
    assert found[4].id.startswith("answer-")


def test_both_labels_of_one_answer_are_two_records():
    rows = [kto(n) for n in range(12)]
    found = records(jsonl([*rows, rows[0] | {"label": False}]))
    assert found[0].id != found[12].id


def test_the_last_message_is_the_answer():
    call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    asked = [turn("user", "1+1?"), {"role": "assistant", "tool_calls": [call]}, turn("tool", "2", tool_call_id="c1")]
    row = {"messages": [*asked, turn("assistant", "Two.")], "label": True}
    first = records(jsonl([row, *[kto_messages(n) for n in range(10)]]))[0]
    assert [message.role for message in first.prompt] == ["user", "assistant", "tool"]
    assert [message.content for message in first.completion] == ["Two."]


@pytest.mark.parametrize("build", [ranked, rated])
def test_rankings(build):
    found = records(jsonl([build(number) for number in range(12)]))
    assert all(isinstance(record, RankingRecord) for record in found)
    assert [[m.content for m in answer] for answer in found[3].completions] == [
        ["No idea."],
        ["It is 4."],
        ["Nearly 3."],
    ]
    assert found[3].ranks == [3, 1, 2]
    assert [(m.role, m.content) for m in found[3].prompt] == [("user", "What is 3 + 1?")]
    assert found[3].id.startswith("ranking-")


@pytest.mark.parametrize(
    ("given", "told"),
    [([0, 1, 2], [1, 2, 3]), ([7, -2, 7], [2, 1, 2]), ([1.5, 1, 10**200], [2, 1, 3]), ([1, 1.0, 2], [1, 1, 2])],
)
def test_ranks_are_told_from_one_without_gaps(given, told):
    answers = [{"answer": f"a{n}", "rank": rank} for n, rank in enumerate(given)]
    rows = [{"prompt": f"q{n}", "answers": answers} for n in range(10)]
    assert records(jsonl(rows))[0].ranks == told
    responses = [{"prompt": f"q{n}", "responses": ["a", "b", "c"], "ratings": [-x for x in given]} for n in range(10)]
    assert records(jsonl(responses))[0].ranks == told


def test_ties_are_counted_and_told():
    tied = {"prompt": "q", "responses": ["a", "b", "c", "d"], "ratings": [1, 1, 2, 2]}
    equal = {"prompt": "q", "responses": ["a", "b", "c"], "ratings": [1, 1, 1]}
    report = check(jsonl([rated(n) for n in range(100)] + [tied, equal]))
    assert report.usable
    counts = report.counts
    assert (counts.rankings, counts.usable, counts.useless, counts.pairs) == (102, 101, 1, 0)
    assert (counts.comparisons, counts.ties) == (100 * 3 + 4, 2 + 3)
    assert [(error.line, error.code, error.path) for error in report.errors] == [(102, "ranks_all_equal", "ratings")]
    assert [(warning.code, warning.lines) for warning in report.warnings] == [("tie_dropped", [101])]
    assert report.status_details == "101 rankings taken; left out: 1 ranks_all_equal."


def test_rankings_of_equals_are_no_mistake_however_many():
    equal = {"prompt": "q", "responses": ["a", "b"], "ratings": [1, 1]}
    assert check(jsonl([rated(n) for n in range(20)] + [equal] * 20)).usable
    refused = check(jsonl([rated(n) for n in range(5)] + [equal] * 20))
    assert refused.error.message == "5 usable rankings; at least 10 are needed."


def test_slips_of_other_kinds_refuse_the_file_above_five_percent():
    empty = kto() | {"completion": " "}
    taken = check(jsonl([kto(n) for n in range(95)] + [empty] * 5))
    assert taken.status_details == "95 answers taken; left out: 5 completion_empty."
    refused = check(jsonl([kto(n) for n in range(94)] + [empty] * 6))
    assert "6 of 100 answers are empty" in refused.error.message
    same = {"prompt": "q", "responses": ["a", "b", " a "], "ratings": [1, 2, 3]}
    refused = check(jsonl([ranked(n) for n in range(94)] + [same] * 6))
    assert "6 of 100 rankings have" in refused.error.message


@pytest.mark.parametrize(("label", "word"), [(True, "wanted"), (False, "unwanted")])
def test_one_label_alone_is_told(label, word):
    report = check(jsonl([kto(n) | {"label": label} for n in range(120)]))
    assert report.usable
    assert [(w.code, f"only {word}" in w.message or f"are {word}" in w.message) for w in report.warnings] == [
        ("one_label", True)
    ]


def test_the_kind_and_the_columns_that_matter_stand_in_the_report():
    told = {
        name: (report.kind, report.columns)
        for name, report in {
            "pairs": check(jsonl([triple(n) for n in range(10)])),
            "answers": check(jsonl([kto(n) | {"weight": 2} for n in range(10)])),
            "rankings": check(jsonl([ranked(n) | {"weight": 0.5} for n in range(10)])),
            "defaults": check(
                jsonl([triple(n) | {"weight": 1, "confidence": 1.0, "margin": 0} for n in range(10)]),
            ),
            "one of them": check(jsonl([triple(n) for n in range(10)] + [triple(10) | {"margin": 1, "weight": 3}])),
            "left out": check(jsonl([triple(n) for n in range(30)] + [triple(10) | {"chosen": "", "weight": 3}])),
            "no format": check(b'{"x": 1}\n' * 20),
        }.items()
    }
    assert told == {
        "pairs": ("pair", []),
        "answers": ("unpaired", ["weight"]),
        "rankings": ("ranking", ["weight"]),
        "defaults": ("pair", []),
        "one of them": ("pair", ["weight", "margin"]),
        "left out": ("pair", []),
        "no format": (None, []),
    }


@pytest.mark.parametrize("name", PAIRS)
def test_numbers_beside_a_pair_of_any_format(name):
    rows = [PAIRS[name](n) for n in range(10)]
    rows[0] |= {"weight": 2, "confidence": 0.75, "margin": 1.5, "other": 1}
    rows[1] |= {"weight": None, "confidence": None, "margin": None}
    found = records(jsonl(rows))
    assert (found[0].weight, found[0].confidence, found[0].margin) == (2.0, 0.75, 1.5)
    assert {key: value for key, value in found[0].meta.items() if key not in SCORES} == {"other": 1}
    assert (found[1].weight, found[1].confidence, found[1].margin) == (1.0, None, found[2].margin)


@pytest.mark.parametrize("build", [kto, kto_messages, ranked, rated])
def test_the_other_kinds_know_a_weight_only(build):
    rows = [build(n) for n in range(10)]
    rows[0] |= {"weight": 0.25, "margin": "wide"}
    first = records(jsonl(rows))[0]
    assert (first.weight, first.meta) == (0.25, {"margin": "wide"})


def test_pairs_that_weigh_nothing_are_not_enough():
    rows = [triple(n) | {"weight": 0} for n in range(50)]
    error = check(jsonl([*rows, triple(50)])).error
    assert (error.code, error.message) == (
        "too_few_pairs",
        "1 usable pair of a weight above 0; at least 10 are needed.",
    )
    assert check(jsonl(rows + [triple(n) for n in range(10)])).usable


def test_a_text_named_weight_is_refused_with_what_to_do():
    report = check(among_good(triple() | {"weight": "bold"}, triple))
    assert [(error.line, error.code, error.path) for error in report.errors] == [(12, "weight_invalid", "weight")]
    assert "rename" in report.errors[0].hint


@pytest.mark.parametrize("build", [kto, ranked])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("array", [False, True])
def test_the_containers_make_no_difference(build, pack, array):
    rows = [build(n) for n in range(20)]
    data = pack(json.dumps(rows, indent=1).encode() if array else jsonl(rows))
    report = check(data)
    assert report.usable
    assert report.counts.usable == 20
    bad = [*rows[:7], rows[7] | {"label": 1, "answers": None}, *rows[8:]]
    error = check(pack(json.dumps(bad).encode() if array else jsonl(bad))).errors[0]
    path = {kto: "label", ranked: "answers"}[build]
    assert (error.line, error.path) == ((1, f"[7].{path}") if array else (8, path))


def test_kinds_do_not_mix_in_one_file():
    report = check(jsonl([kto(n) for n in range(10)] + [openai(n) for n in range(10)]))
    assert report.error.code == "format_mixed"


def test_a_real_file_of_single_answers_has_the_figures_of_the_readme():
    name = "llamafactory.kto_en_demo.json"
    figures = json.loads(real("figures.json").read_text())[name]
    report = check_file(real(name))
    assert (report.error, report.format, report.container, report.kind) == (None, "kto", "json_array", "unpaired")
    counts = report.counts
    assert (counts.records, counts.usable, counts.bad, counts.useless) == (figures["records"], 300, 0, 0)
    assert (counts.unpaired, counts.pairs, counts.rankings) == (300, 0, 0)
    assert (counts.desirable, counts.undesirable) == (figures["desirable"], figures["undesirable"])
    assert counts.multi_turn == figures["multi_turn"]
    assert report.status_details == "300 answers taken."


def test_a_real_file_of_rankings_once_its_orders_are_written_as_ranks():
    """Its own layout, comparisons of two, is none that is read; where they make one order, the figures must agree."""
    name = "qa-feedback.ranked.json"
    figures = json.loads(real("figures.json").read_text())[name]
    assert check_file(real(name)).error.code == "format_unknown"
    rows, decided = [], 0
    for item in json.loads(real(name).read_text()):
        beaten_by = [0, 0, 0, 0]
        compared = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        for two, verdict in zip(compared, item["preference"], strict=True):
            if verdict:
                beaten_by[two[2 - verdict]] += 1
        if sorted(beaten_by) == [0, 1, 2, 3]:
            decided += 1
        answers = [{"answer": item[f"prediction {n + 1}"], "rank": beaten_by[n]} for n in range(4)]
        rows.append({"prompt": item["question"], "answers": answers, "passages": item["passages"]})
    assert decided == figures["full_linear_order"]
    canonical = io.BytesIO()
    report = check(jsonl(rows), canonical=canonical)
    assert (report.error, report.format, report.kind) == (None, "ranked", "ranking")
    counts = report.counts
    assert (counts.rankings, counts.useless) == (figures["records"], figures["all_ties"])
    assert counts.comparisons + counts.ties == 6 * figures["records"]
    assert report.errors_by_code == {"ranks_all_equal": figures["all_ties"]}
    assert report.counts.multi_turn == figures["multi_turn"]


@pytest.mark.timeout(20)
def test_hostile_rankings_cost_no_more_than_their_length():
    many = {"prompt": "q", "answers": [{"answer": f"a{n}", "rank": n} for n in range(100_000)]}
    long = {"prompt": "q", "responses": ["a" * 10_000] * 64, "ratings": [random.Random(0).random()] * 64}
    report = check(jsonl([ranked(n) for n in range(40)] + [many, long]))
    assert [(error.line, error.code) for error in report.errors] == [
        (41, "rank_invalid"),
        (42, "chosen_equals_rejected"),
    ]
