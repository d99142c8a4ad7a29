"""Slice names, annotators and variables of the chat template beside the answers; reasoning within them."""

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


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking", "thinking_content"])
def test_reasoning_is_read_under_each_of_its_names(name):
    def row(n):
        said = [[{"role": "assistant", "content": text, name: f"I think {n}."}] for text in ("yes", "no")]
        asked = [{"role": "user", "content": f"why {n}"}]
        return {"prompt": asked, "chosen": said[0], "rejected": said[1]}

    first, *_ = records(jsonl([row(n) for n in range(10)]))
    assert [each[0].reasoning_content for each in (first.chosen, first.rejected)] == ["I think 0."] * 2
    assert first.meta == {}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"reasoning_content": 3}, "chosen[0].reasoning_content"),
        ({"reasoning_content": "a", "thinking": "b"}, "chosen[0].thinking"),
        ({"reasoning": {"text": "a"}}, "chosen[0].reasoning"),
        ({"thinking": [{"type": "thinking", "thinking": "a"}]}, "chosen[0].thinking"),
        ({"reasoning": " ", "thinking_content": ["a"]}, "chosen[0].thinking_content"),
    ],
)
def test_reasoning_that_cannot_be_read_refuses_the_row(given, path):
    def row(n):
        said = [{"role": "assistant", "content": f"yes {n}"}]
        return {"prompt": [{"role": "user", "content": "why"}], "chosen": said, "rejected": said * 1}

    bad = row(3)
    bad["chosen"] = [{**bad["chosen"][0], **given}]
    bad["rejected"] = [{"role": "assistant", "content": "no"}]
    good = [{**row(n), "rejected": [{"role": "assistant", "content": "no"}]} for n in range(11)]
    (error,) = check(jsonl([*good, bad])).errors
    assert (error.line, error.code, error.path) == (12, "field_type", path)


def test_reasoning_alone_tells_two_answers_apart_and_other_things_of_that_name_stay_in_meta():
    def row(n):
        said = [[{"role": "assistant", "content": f"yes {n}", "reasoning": each}] for each in ("so", "not so")]
        asked = [{"role": "user", "content": f"why {n}", "thinking": "mine"}]
        return {"prompt": asked, "chosen": said[0], "rejected": [{**said[1][0], "thinking": True}]}

    first, *_ = records(jsonl([row(n) for n in range(10)]))
    assert (first.chosen[0].reasoning_content, first.rejected[0].reasoning_content) == ("so", "not so")
    assert first.meta == {"prompt[0].thinking": "mine", "rejected[0].thinking": True}


def test_variables_of_the_chat_template_are_the_records():
    told = {"enable_thinking": False, "custom": ["a", 1]}
    first, second, *_ = records(
        jsonl([triple(n) | {"chat_template_kwargs": told if n % 2 == 0 else None} for n in range(10)])
    )
    assert (first.chat_template_kwargs, second.chat_template_kwargs) == (told, None)
    assert first.meta == second.meta == {}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (3, "chat_template_kwargs"),
        ("{}", "chat_template_kwargs"),
        ({"messages": []}, "chat_template_kwargs.messages"),
        ({"tools": []}, "chat_template_kwargs.tools"),
        ({"chat_template": "{{ 1 }}"}, "chat_template_kwargs.chat_template"),
        ({"add_generation_prompt": True}, "chat_template_kwargs.add_generation_prompt"),
        ({"tokenize": True}, "chat_template_kwargs.tokenize"),
        ({"a b": 1}, "chat_template_kwargs.a b"),
    ],
)
def test_what_is_no_variable_of_a_template_refuses_the_row(wrong, path):
    (error,) = check(among_good(triple(3) | {"chat_template_kwargs": wrong}, triple)).errors
    assert (error.line, error.code, error.path) == (12, "field_type", path)
