"""Repeats, contradictions, cycles and the spread of prompts: each with a planted dose, and silent on the clean file."""

import json

import pytest

from core.contract.finding import Place
from preferences.checks.graph import Graph
from preferences.checks.seen import Seen
from tests.unit.preferences.checks.planted import clean, dosed, lines, quickly
from tests.unit.preferences.rows import check


def swapped(row):
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def test_a_clean_file_has_none_of_it():
    findings = quickly(clean())
    for code in ("exact_duplicates", "contradictions", "cycles"):
        assert (findings[code].severity, findings[code].count, findings[code].examples) == ("info", 0, [])
    assert findings["prompt_coverage"].severity == "info"
    assert findings["prompt_coverage"].detail["distinct"] == 400


def test_repeats_are_counted_with_the_line_of_the_first():
    rows = clean(400)
    rows += [{**row, "chosen": f"  {row['chosen'].replace(' ', '  ')}\n"} for row in rows[:20]]
    repeats = quickly(rows)["exact_duplicates"]
    assert (repeats.count, repeats.severity) == (20, "warn")
    assert repeats.share == pytest.approx(20 / 420, abs=1e-4)
    assert lines(repeats) == list(range(401, 421))
    assert repeats.examples[0].note == "as line 1"


def test_five_percent_of_flips_of_the_same_pairs_are_contradictions():
    rows = clean(400)
    rows += [swapped(row) for row in rows[:21]]
    opposed = quickly(rows)["contradictions"]
    assert (opposed.severity, opposed.count, opposed.threshold) == ("block", 42, 0.01)
    assert {1, 401} <= set(lines(opposed))
    assert "lines 1, 401" in opposed.examples[0].note


def test_a_few_contradictions_are_listed_and_do_not_block():
    rows = clean(400)
    opposed = quickly([*rows, swapped(rows[6])])["contradictions"]
    assert (opposed.severity, opposed.count, lines(opposed)) == ("info", 2, [7, 401])


def test_single_answers_contradict_where_one_has_both_labels():
    rows = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": at % 2 == 0}
        for at, row in enumerate(clean(200))
    ]
    assert quickly(rows)["contradictions"].count == 0
    opposed = quickly([*rows, {**rows[9], "label": True}])["contradictions"]
    assert (opposed.count, lines(opposed)) == (2, [10, 201])


def test_a_circle_of_three_and_one_of_five_are_found_and_a_chain_is_none():
    rows = clean(300)
    prompt = rows[0]["prompt"]

    def ring(names, prompt):
        return [
            {"prompt": prompt, "chosen": f"Answer {a}.", "rejected": f"Answer {b}."}
            for a, b in zip(names, names[1:] + names[:1], strict=True)
        ]

    chain = ring("abcdefg", "A chain?")[:-1]
    cycles = quickly(rows + chain)["cycles"]
    assert (cycles.severity, cycles.value) == ("info", 0)
    cycles = quickly(rows + chain + ring("abc", prompt) + ring("vwxyz", "Another?"))["cycles"]
    assert (cycles.severity, cycles.value, cycles.count) == ("warn", 2, 8)
    assert lines(cycles) == list(range(307, 315))
    assert "307, 308, 309" in cycles.examples[0].note


def test_records_of_one_line_are_told_apart():
    """A JSON array on one line, as json.dump writes it, is the same file as one of a line a record."""
    rows = clean(300)
    again = [*rows, swapped(rows[6]), *rows[10:40]]
    ring = [{"prompt": "Which?", "chosen": f"Answer {a}.", "rejected": f"Answer {b}."} for a, b in ("ab", "bc", "ca")]
    told = [check(json.dumps(again + ring, indent=indent).encode()) for indent in (None, 1)]
    assert [each.verdict.gate for each in told] == ["warn", "warn"]
    one, other = ({each.code: each for each in report.checks} for report in told)
    for code in ("contradictions", "exact_duplicates", "cycles", "prompt_coverage"):
        assert one[code].model_dump(exclude={"examples"}) == other[code].model_dump(exclude={"examples"})
    assert (one["contradictions"].count, one["exact_duplicates"].count, one["cycles"].count) == (2, 30, 3)
    assert lines(one["exact_duplicates"]) == [1] * 20


def test_the_comparisons_of_one_row_are_one_record():
    """Also where all rows stand on one line, and where a row makes a record of each comparison."""
    mapping = {"prompt": "prompt", "answers": "answers", "pairs": "pairs"}
    rows = [
        {"prompt": f"Question {n}?", "answers": [f"Answer {a}, {n}." for a in "abc"], "pairs": [1, 1, 1]}
        for n in range(100)
    ]
    part = {**rows[5], "answers": [*rows[5]["answers"][:2], "Another one."]}
    report = check(json.dumps([*rows, rows[4], part]).encode(), mapping=mapping)
    found = {each.code: each for each in report.checks}
    assert (found["exact_duplicates"].count, found["exact_duplicates"].detail["of"]) == (1, 102)
    assert found["prompt_coverage"].detail["effective"] == pytest.approx(102**2 / (98 + 2 * 4), rel=0.01)


def test_a_contradiction_alone_is_no_cycle():
    rows = clean(100)
    third = {**rows[0], "chosen": rows[0]["rejected"], "rejected": "Nothing of the kind."}
    findings = quickly([*rows, swapped(rows[0]), third])
    assert findings["contradictions"].count == 2
    assert findings["cycles"].value == 0


def test_a_prompt_that_fills_a_tenth_of_the_file_is_named():
    rows = dosed(clean(400), 0.10, lambda row, draw: {**row, "prompt": "Tell me something."})
    coverage = quickly(rows)["prompt_coverage"]
    assert (coverage.severity, coverage.count) == ("warn", 40)
    assert coverage.value == pytest.approx(0.10)
    assert coverage.detail["distinct"] == 361
    assert coverage.detail["effective"] == pytest.approx(1 / (0.1**2 + 360 / 400**2), rel=0.01)
    assert len(coverage.examples) == 20


def test_rankings_are_looked_at_answer_by_answer():
    def ranking(prompt, names):
        answers = [{"answer": f"Answer {name}, as said.", "rank": at + 1} for at, name in enumerate(names)]
        return {"prompt": prompt, "answers": answers}

    rows = [ranking(f"Question {number}?", "abcd") for number in range(200)]
    quiet = quickly(rows)
    assert (quiet["contradictions"].count, quiet["exact_duplicates"].count, quiet["cycles"].count) == (0, 0, 0)
    findings = quickly([*rows, ranking("Question 3?", "abcd"), ranking("Question 5?", "bacd")])
    assert lines(findings["exact_duplicates"]) == [201]
    assert lines(findings["contradictions"]) == [6, 202]


def test_a_graph_that_is_full_keeps_whole_prompts_and_true_shares():
    graph = Graph(most=2_000)
    for number in range(20_000):
        prompt, again = f"Question {number // 4}?", number % 4 == 3
        better, worse = (f"a{number % 4 - again}", f"b{number % 4 - again}")
        graph.see(Seen(None, Place(number, number + 1), prompt, [better, worse], [1, 2]))
    findings = {each.code: each for each in graph.findings()}
    assert findings["exact_duplicates"].share == 0.25
    assert findings["exact_duplicates"].detail["of"] <= 2_000
    assert findings["exact_duplicates"].detail["one_prompt_of"] >= 8
    assert findings["prompt_coverage"].value == pytest.approx(4 / findings["exact_duplicates"].detail["of"], abs=1e-4)
