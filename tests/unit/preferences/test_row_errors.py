import json

import pytest

from preferences.faults import HINTS, USELESS
from preferences.limits import Limits
from tests.unit.preferences.rows import (
    SMALL,
    among_good,
    check,
    conversational,
    hh,
    implicit,
    jsonl,
    kto,
    kto_messages,
    openai,
    ranked,
    rated,
    sharegpt,
    triple,
    turn,
)
from tests.unit.preferences.test_formats import records

USER, TOLD = turn("user", "Hi"), turn("assistant", "Hello")
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
SAID = turn("assistant", "Else")
CALL = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}


def asked(*messages, **more):
    return openai() | {"input": {"messages": list(messages), **more}}


def preferred(*messages):
    return openai() | {"preferred_output": list(messages)}


CASES = {
    "no input": ({**openai(), "input": None}, "field_missing", "input"),
    "input a text": ({**openai(), "input": "Hi"}, "field_type", "input"),
    "no messages": (openai() | {"input": {}}, "field_missing", "input.messages"),
    "no rejected": (
        {k: v for k, v in openai().items() if k != "non_preferred_output"},
        "field_missing",
        "non_preferred_output",
    ),
    "chosen a text": (openai() | {"preferred_output": "yes"}, "field_type", "preferred_output"),
    "message a text": (asked(USER, "x"), "field_type", "input.messages[1]"),
    "message null": (asked(USER, None), "field_missing", "input.messages[1]"),
    "no role": (asked({"content": "x"}), "field_missing", "input.messages[0].role"),
    "role human": (asked(turn("human", "x")), "role_invalid", "input.messages[0].role"),
    "role a list": (asked(turn(["user"], "x")), "role_invalid", "input.messages[0].role"),
    "no content": (preferred({"role": "assistant"}), "field_missing", "preferred_output[0].content"),
    "content a number": (preferred(turn("assistant", 5)), "field_type", "preferred_output[0].content"),
    "left out by its weight": (
        preferred(turn("assistant", "so", weight=0), USER, turn("assistant", "done", weight=1)),
        "message_left_out",
        "preferred_output[0]",
    ),
    "half its weight": (preferred(turn("assistant", "so", weight=0.5)), "message_left_out", "preferred_output[0]"),
    "left out by a flag": (preferred(turn("assistant", "so", loss=False)), "message_left_out", "preferred_output[0]"),
    "image": (asked(turn("user", [IMAGE])), "content_part_unsupported", "input.messages[0].content[0].type"),
    "part a text": (asked(turn("user", ["x"])), "field_type", "input.messages[0].content[0]"),
    "part without text": (
        asked(turn("user", [{"type": "text"}])),
        "field_missing",
        "input.messages[0].content[0].text",
    ),
    "function_call": (
        preferred({"role": "assistant", "content": None, "function_call": {"name": "f"}}),
        "content_part_unsupported",
        "preferred_output[0].function_call",
    ),
    "user calls": (asked(turn("user", "x", tool_calls=[CALL])), "role_invalid", "input.messages[0].tool_calls"),
    "calls an object": (
        preferred(turn("assistant", "x", tool_calls=CALL)),
        "field_type",
        "preferred_output[0].tool_calls",
    ),
    "call without name": (
        preferred(turn("assistant", "x", tool_calls=[{"function": {}}])),
        "field_missing",
        "preferred_output[0].tool_calls[0].function.name",
    ),
    "name a number": (asked(turn("user", "x", name=1)), "field_type", "input.messages[0].name"),
    "empty prompt": (asked(), "prompt_empty", "input.messages"),
    "blank prompt": (asked(turn("user", " \n")), "prompt_empty", "input.messages"),
    "blank last turn": (asked(USER, TOLD, turn("user", "\n")), "prompt_empty", "input.messages"),
    "prompt ends": (asked(USER, TOLD), "prompt_ends_with_assistant", "input.messages"),
    "system last": (asked(USER, turn("system", "x")), "role_order", "input.messages"),
    "system in answer": (preferred(TOLD, turn("system", "x"), TOLD), "role_order", "preferred_output"),
    "user answers": (preferred(USER), "completion_not_assistant", "preferred_output[0].role"),
    "user ends": (preferred(TOLD, USER), "completion_not_assistant", "preferred_output"),
    "tool without call": (asked(USER, turn("tool", "2")), "tool_call_unresolved", "input.messages[1]"),
    "tool with other id": (
        asked(USER, {"role": "assistant", "tool_calls": [CALL]}, turn("tool", "2", tool_call_id="c2")),
        "tool_call_unresolved",
        "input.messages[2].tool_call_id",
    ),
    "tools an object": (asked(USER, tools={}), "tools_schema_invalid", "tools"),
    "tool without name": (asked(USER, tools=[{"function": {}}]), "tools_schema_invalid", "tools[0]"),
    "id a list": (openai() | {"id": []}, "field_type", "id"),
    "empty chosen": (preferred(turn("assistant", " \n")), "completion_empty", "preferred_output"),
    "no answer": (preferred(), "completion_empty", "preferred_output"),
    "same": (preferred(turn("assistant", "No  idea.\n")), "chosen_equals_rejected", "non_preferred_output"),
    "an array": ([1], "not_object", ""),
    "null": (None, "not_object", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_of_a_row_is_told_with_line_path_and_hint(case):
    row, code, path = CASES[case]
    report = check(among_good(row))
    assert [(error.line, error.code, error.path) for error in report.errors] == [(12, code, path)]
    assert report.errors[0].hint == HINTS[code]
    assert len(report.errors[0].excerpt) <= 200
    assert report.errors[0].message
    assert report.errors_by_code == {code: 1}
    if code in USELESS:
        assert report.usable
        assert (report.counts.useless, report.counts.usable, report.counts.bad) == (1, 39, 0)
        assert f"1 {code}" in report.status_details
    else:
        assert report.error.code == "too_many_bad_lines"
        assert "line 12" in report.error.message
        assert check(among_good(row), on_error="skip", max_bad_fraction=0.05).counts.usable == 39


FIRST = {"answer": "a", "rank": 1}
ASKED = "\n\nHuman: a\n\nAssistant:"
OTHER = [
    (conversational, conversational() | {"prompt": [USER, TOLD]}, "prompt_ends_with_assistant", "prompt"),
    (conversational, conversational() | {"rejected": "text"}, "field_type", "rejected"),
    (implicit, {"chosen": [USER, TOLD], "rejected": [turn("user", "Other"), TOLD]}, "no_common_prefix", "chosen"),
    (implicit, {"chosen": [USER, TOLD, TOLD], "rejected": [USER, TOLD, SAID]}, "prompt_ends_with_assistant", "chosen"),
    (implicit, {"chosen": [USER, TOLD], "rejected": [USER, TOLD]}, "chosen_equals_rejected", "rejected"),
    (implicit, {"chosen": [USER, TOLD]}, "field_missing", "rejected"),
    (triple, triple() | {"chosen": 5}, "field_type", "chosen"),
    (triple, triple() | {"prompt": ""}, "prompt_empty", "prompt"),
    (triple, triple() | {"prompt": "", "system": "You are X."}, "prompt_empty", "prompt"),
    (triple, triple() | {"rejected": None}, "field_missing", "rejected"),
    (triple, triple() | {"chosen": "Cafe\u0301", "rejected": "Caf\u00e9"}, "chosen_equals_rejected", "rejected"),
    (triple, triple() | {"chosen": ""}, "completion_empty", "chosen"),
    (hh, {"chosen": ASKED + " b", "rejected": "\n\nHuman: c\n\nAssistant: d"}, "no_common_prefix", "chosen"),
    (hh, {"chosen": f"x{ASKED} b", "rejected": f"x{ASKED} d"}, "role_order", "chosen"),
    (hh, hh() | {"rejected": "\n\nHuman: What is 0 + 1?\n\nAssistant: "}, "completion_empty", "rejected"),
    (hh, {"chosen": hh()["chosen"]}, "field_missing", "rejected"),
    (triple, triple() | {"weight": -1}, "weight_invalid", "weight"),
    (triple, triple() | {"weight": 1e39}, "weight_invalid", "weight"),
    (triple, triple() | {"weight": True}, "weight_invalid", "weight"),
    (openai, openai() | {"confidence": 0.4}, "confidence_invalid", "confidence"),
    (openai, openai() | {"confidence": 1.01}, "confidence_invalid", "confidence"),
    (hh, hh() | {"margin": -0.1}, "margin_invalid", "margin"),
    (implicit, implicit() | {"margin": [1]}, "margin_invalid", "margin"),
    (kto, kto() | {"label": 1}, "label_not_bool", "label"),
    (kto, kto() | {"label": "true"}, "label_not_bool", "label"),
    (kto, kto() | {"label": None}, "field_missing", "label"),
    (kto, {key: value for key, value in kto().items() if key != "label"}, "field_missing", "label"),
    (kto, kto() | {"label": None, "kto_tag": 0}, "label_not_bool", "kto_tag"),
    (kto, kto() | {"completion": None}, "field_missing", "completion"),
    (kto, kto() | {"completion": {}}, "field_type", "completion"),
    (kto, kto() | {"completion": []}, "completion_empty", "completion"),
    (kto, kto() | {"completion": [USER]}, "completion_not_assistant", "completion[0].role"),
    (kto, kto() | {"prompt": [USER, TOLD]}, "prompt_ends_with_assistant", "prompt"),
    (kto, kto() | {"prompt": 5}, "field_type", "prompt"),
    (kto, kto() | {"system": 5}, "field_type", "system"),
    (kto, kto() | {"weight": "2"}, "weight_invalid", "weight"),
    (kto_messages, {"messages": [USER, TOLD, USER], "label": True}, "completion_not_assistant", "messages[2].role"),
    (kto_messages, {"messages": [TOLD], "label": True}, "prompt_empty", "messages"),
    (kto_messages, {"messages": [], "label": True}, "prompt_empty", "messages"),
    (kto_messages, {"messages": [USER, turn("assistant", "")], "label": True}, "completion_empty", "messages"),
    (kto_messages, {"messages": [USER, turn("human", "x")], "label": True}, "role_invalid", "messages[1].role"),
    (kto_messages, {"messages": [USER, TOLD | {"weight": 0}], "label": True}, "message_left_out", "messages[0]"),
    (
        implicit,
        {"chosen": [USER, TOLD], "rejected": [USER, SAID | {"train": False}]},
        "message_left_out",
        "rejected[0]",
    ),
    (sharegpt, sharegpt() | {"chosen": {"from": "gpt", "value": "x", "weight": 0}}, "message_left_out", "chosen[0]"),
    (ranked, ranked() | {"answers": None}, "field_missing", "answers"),
    (ranked, ranked() | {"answers": {}}, "field_type", "answers"),
    (ranked, ranked() | {"answers": ["a", "b"]}, "field_type", "answers[0]"),
    (ranked, ranked() | {"answers": [{"answer": "a", "rank": 1}]}, "rank_invalid", "answers"),
    (ranked, ranked() | {"answers": [FIRST, {"answer": "b"}]}, "rank_invalid", "answers[1].rank"),
    (ranked, ranked() | {"answers": [FIRST, {"answer": "b", "rank": "2"}]}, "rank_invalid", "answers[1].rank"),
    (ranked, ranked() | {"answers": [FIRST, {"answer": "b", "rank": False}]}, "rank_invalid", "answers[1].rank"),
    (ranked, ranked() | {"answers": [FIRST, {"rank": 2}]}, "field_missing", "answers[1].answer"),
    (ranked, ranked() | {"answers": [FIRST, {"answer": "", "rank": 2}]}, "completion_empty", "answers[1].answer"),
    (ranked, ranked() | {"answers": [FIRST, FIRST | {"rank": 2}]}, "chosen_equals_rejected", "answers[1].answer"),
    (ranked, ranked() | {"answers": [FIRST, FIRST | {"answer": "b"}]}, "ranks_all_equal", "answers"),
    (ranked, ranked() | {"prompt": ""}, "prompt_empty", "prompt"),
    (rated, rated() | {"ratings": [1, 2]}, "rank_invalid", "ratings"),
    (rated, rated() | {"ratings": None}, "field_missing", "ratings"),
    (rated, rated() | {"ratings": 5}, "field_type", "ratings"),
    (rated, rated() | {"ratings": [1, None, 2]}, "rank_invalid", "ratings[1]"),
    (rated, rated() | {"responses": ["a", 5, "b"]}, "field_type", "responses[1]"),
    (rated, rated() | {"responses": ["a", "b", [USER]]}, "completion_not_assistant", "responses[2][0].role"),
    (rated, rated() | {"responses": ["Caf\u00e9", "b", "Cafe\u0301 "]}, "chosen_equals_rejected", "responses[2]"),
]


@pytest.mark.parametrize(("build", "row", "code", "path"), OTHER)
def test_faults_of_the_other_formats(build, row, code, path):
    report = check(among_good(row, build))
    assert [(error.line, error.code, error.path) for error in report.errors] == [(12, code, path)]


def good(text: str) -> bytes:
    """An openai row with `text` spliced in as the value of one more key."""
    return json.dumps(openai())[:-1].encode() + b', "x": ' + text.encode() + b"}"


START = len(good("")) - 1
BROKEN = {
    "cut": (b'{"input": {', 12),
    "trailing comma": (b'{"a": 1,}', 9),
    "single quotes": (b"{'a': 1}", 2),
    "doubled key": (b'{"a": 1, "b": {"a": 1}, "\\u0061": 2}', 25),
    "doubled key within": (b'{"b": [{"k": {}, "k": 2}]}', 18),
    "NaN": (b'{"a": NaN}', 7),
    "Infinity": (b'{"a": -Infinity}', 7),
    "too large": (b'{"a": 1e999}', 7),
    "too long a number": (b'{"a": ' + b"9" * 5000 + b"}", 7),
    "NUL escaped": (b'{"a": "x\\u0000"}', 9),
    "NUL raw": (b'{"a": "x\x00"}', 9),
    "control": (b'{"a": "x\x07"}', 9),
    "lone high": ('{"é": "\\ud800"}'.encode(), 8),
    "lone low": (b'{"a": "\\uDC00"}', 8),
    "high high": (b'{"a": "\\ud83d\\ud83d\\ude00"}', 8),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 38),
    "deep unclosed": (b'{"a": ' + b"[" * 100_000, 38),
    "deep objects": (b'{"a":' * 50_000, 161),
    "text after": (b'{"a": 1} {"b": 2}', 10),
}


@pytest.mark.parametrize("case", BROKEN)
def test_json_that_is_not_strict_is_told_with_its_column(case):
    line, column = BROKEN[case]
    report = check(among_good(line))
    assert [(e.line, e.column, e.code, e.path) for e in report.errors] == [(12, column, "json_invalid", "")]
    assert report.errors[0].excerpt.isprintable()


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\\\u0000"', '"\\\\ud800"', "1e308", "-0", "[[[[[]]]]]"])
def test_json_that_only_looks_suspicious_is_taken(text):
    assert check(among_good(good(text))).usable


def test_brackets_in_texts_are_no_depth():
    assert check(among_good(preferred(turn("assistant", "[" * 1000 + '"{\\"' * 1000)))).usable


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc3"])
def test_bytes_that_are_not_utf8_are_told_with_their_column(bad):
    report = check(among_good('{"é": "'.encode() + bad + b'"}'))
    assert [(e.line, e.column, e.code) for e in report.errors] == [(12, 8, "utf8_invalid")]


def test_a_line_over_the_limit_is_an_error_of_that_line():
    report = check(among_good(good(json.dumps("x" * 5000))), limits=SMALL)
    assert [(e.line, e.code) for e in report.errors] == [(12, "line_too_long")]
    assert report.errors[0].excerpt.startswith('{"input"')
    assert report.counts.records == 40


def test_a_line_of_just_the_limit_is_read():
    line = good(json.dumps("x"))
    exact = good(json.dumps("x" * (1 + SMALL.line - len(line))))
    assert len(exact) == SMALL.line
    assert check(among_good(exact), limits=SMALL).usable
    assert not check(among_good(exact + b" "), limits=SMALL).usable


def test_all_errors_are_counted_and_the_first_are_kept():
    report = check(jsonl([openai(n) for n in range(50)]) + b"{x}\n" * 30, limits=Limits(errors=20))
    assert len(report.errors) == 20
    assert report.errors_by_code == {"json_invalid": 30}
    assert report.counts.bad == 30


def test_the_first_row_may_be_the_broken_one():
    report = check(b'{"a": \n' + jsonl([openai(n) for n in range(20)]))
    assert report.format == "openai_preference"
    assert [(e.line, e.code) for e in report.errors] == [(1, "json_invalid")]


def test_half_of_the_rows_broken_is_still_told_by_line():
    row = {"preferred": 1}
    report = check(jsonl([openai(n) for n in range(12)] + [row] * 8))
    assert report.errors_by_code == {"field_missing": 8}


def test_every_code_of_a_row_has_a_case():
    told = {code for _, code, _ in CASES.values()} | {code for _, _, code, _ in OTHER}
    elsewhere = {"json_invalid", "utf8_invalid", "line_too_long", "csv_invalid", "not_raw_text"}
    assert told | elsewhere == set(HINTS)


def test_a_message_of_the_prompt_may_be_left_out_of_the_loss():
    """None of the prompt is trained on; the mark does not reach the record, nor does a weight of 1 refuse an answer."""
    talk = [USER, turn("assistant", "Hm", weight=0), turn("user", "And?")]
    kinds = [
        openai() | {"input": {"messages": talk}, "preferred_output": [turn("assistant", "Yes", weight=1)]},
        openai() | {"input": {"messages": talk}, "preferred_output": [turn("assistant", "Yes", weight=1.0, loss=True)]},
    ]
    whole = [{"chosen": [*talk, turn("assistant", f"Yes {n}")], "rejected": [*talk, SAID]} for n in range(10)]
    for rows in ([*kinds, *(openai(n) for n in range(10))], whole):
        found = records(jsonl(rows))
        assert [each.content for each in found[0].prompt] == ["Hi", "Hm", "And?"]
        assert any(name.endswith("[1].weight") for name in found[0].meta)


def test_errors_stand_in_the_order_of_the_file():
    rows = [json.dumps(triple(n)).encode() for n in range(12)]
    rows[2] = b'{"prompt": "x", "chosen": 3, "rejected": "y"}'
    rows[4] = b"{"
    report = check(b"\n".join(rows), format=None)
    assert [(error.line, error.code) for error in report.errors] == [(3, "field_type"), (5, "json_invalid")]
    assert "the first on line 3 (field_type)" in report.error.message
