"""Exact repeats, contradictions, distinct prompts and lengths against a count by hand."""

import random
from collections import Counter

import pytest

from tests.unit.preferences.rows import check, jsonl, kto, triple


def test_repeats_and_contradictions_as_counted_by_hand():
    draw = random.Random(7)
    rows = [(f"q{draw.randrange(40)}", *draw.sample("abcd", 2)) for _ in range(400)]
    counts = check(jsonl([{"prompt": p, "chosen": a, "rejected": b} for p, a, b in rows]), checks="none").counts
    there = set(rows)
    assert counts.exact_duplicates == len(rows) - len(there)
    assert counts.contradictions == sum((p, b, a) in there for p, a, b in rows)
    assert counts.distinct_prompts == len({p for p, _, _ in rows})


def test_a_prompt_is_its_turns_and_answers_do_not_run_into_each_other():
    rows = [triple(n) for n in range(20)]
    rows += [{"prompt": "q", "chosen": "ab", "rejected": "c"}, {"prompt": "q", "chosen": "a", "rejected": "bc"}]
    rows += [{"prompt": "q", "system": "s", "chosen": "ab", "rejected": "c"}]
    counts = check(jsonl(rows), checks="none").counts
    assert (counts.exact_duplicates, counts.contradictions, counts.distinct_prompts) == (0, 0, 22)


def test_one_answer_with_both_labels_contradicts_itself():
    rows = [kto(n) for n in range(20)]
    rows += [rows[3], rows[4] | {"label": not rows[4]["label"]}]
    counts = check(jsonl(rows), checks="none").counts
    assert (counts.exact_duplicates, counts.contradictions, counts.distinct_prompts) == (1, 2, 20)


@pytest.mark.parametrize("rows", [1, 2, 19, 20, 21, 10_000])
def test_lengths_by_nearest_rank(rows):
    draw = random.Random(rows)
    lengths = [draw.randrange(1, 500) for _ in range(rows)]
    data = jsonl([{"prompt": "x" * length, "chosen": "a", "rejected": "b"} for length in lengths])
    told = check(data, checks="none").lengths["prompt"]
    ordered = sorted(lengths)
    for share, value in ((0.5, told.median), (0.95, told.p95)):
        at_or_below = Counter(length <= value for length in lengths)[True]
        below = sum(length < value for length in lengths)
        assert at_or_below >= share * rows > below
    assert told.max == ordered[-1]


def test_a_chosen_answer_that_declines_is_told():
    rows = [triple(n) for n in range(12)]
    rows[4]["chosen"] = "I'm sorry, but I cannot help with that."
    rows[5]["rejected"] = rows[6]["chosen"] = rows[6]["rejected"] = "I cannot help with that."
    rows[6]["rejected"] += " Sorry."
    told = [each for each in check(jsonl(rows), checks="none").warnings if each.code == "refusal_chosen"]
    assert [(each.count, each.lines) for each in told] == [(1, [5])]


ROW_CODES = {
    "json_invalid", "not_object", "utf8_invalid", "line_too_long", "field_missing", "field_type", "prompt_empty",
    "completion_empty", "role_invalid", "role_order", "prompt_ends_with_assistant", "no_common_prefix",
    "completion_not_assistant", "chosen_equals_rejected", "tool_call_unresolved", "tools_schema_invalid",
    "content_part_unsupported", "label_not_bool", "rank_invalid", "weight_invalid",
}  # fmt: skip


def test_every_code_of_the_design_has_its_hint():
    from preferences.faults import HINTS

    assert HINTS.keys() >= ROW_CODES
