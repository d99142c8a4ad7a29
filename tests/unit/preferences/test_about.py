"""Slice names and annotators beside the answers."""

import pytest

from tests.unit.preferences.rows import among_good, check, jsonl, triple
from tests.unit.preferences.test_formats import records

JUDGED = [{"id": "ann", "choice": "chosen", "strength": 2}, {"id": 7, "choice": "tie"}]


def test_slice_names_become_fields_of_the_record():
    beside = {"group": "g1", "source": "forum", "language": "de", "split": "train"}
    first, *_ = records(jsonl([triple(n) | beside for n in range(10)]))
    assert first.model_dump(include=set(beside)) == beside
    assert first.meta == {}


def test_a_slice_name_that_is_no_text_stays_in_meta():
    first, *_ = records(jsonl([triple(n) | {"source": ["a"], "group": 3, "language": ""} for n in range(10)]))
    assert (first.source, first.group, first.language) == (None, "3", None)
    assert first.meta == {"source": ["a"], "language": ""}


def test_annotators_become_a_list_of_judgements():
    first, *_ = records(jsonl([triple(n) | {"annotators": JUDGED} for n in range(10)]))
    assert [each.model_dump(exclude_none=True) for each in first.annotators] == [
        {"id": "ann", "choice": "chosen", "strength": 2.0},
        {"id": "7", "choice": "tie"},
    ]


@pytest.mark.parametrize("other", [3, ["ann", "bob"], [], [{"id": 1}]])
def test_what_others_call_annotators_stays_in_meta(other):
    first, *_ = records(jsonl([triple(n) | {"annotators": other} for n in range(10)]))
    assert first.annotators is None
    assert first.meta == {"annotators": other}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"id": "a", "choice": "A"}, "annotators[1].choice"),
        ({"choice": "tie"}, "annotators[1].id"),
        ({"id": "a", "choice": "tie", "strength": "much"}, "annotators[1].strength"),
        ({"id": "a", "choice": "tie", "age": 3}, "annotators[1]"),
        ("ann", "annotators[1]"),
    ],
)
def test_a_judgement_that_cannot_be_read_refuses_the_row(wrong, path):
    row = triple(3) | {"annotators": [JUDGED[0], wrong]}
    (error,) = check(among_good(row, triple)).errors
    assert (error.line, error.code, error.path) == (12, "field_type", path)
