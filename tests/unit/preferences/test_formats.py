import io
import json

import pytest
import zstandard

from core.contract.errors import BadInput
from core.contract.preference import AnyRecord, parse_record
from tests.unit.preferences.rows import (
    BUILDERS,
    PAIRS,
    check,
    conversational,
    hh,
    implicit,
    jsonl,
    openai,
    triple,
    turn,
)

SCORES = {
    "chosen_reward", "rejected_reward", "chosen_avg_rating", "rejected_avg_rating", "score_chosen", "score_rejected",
    "chosen_position",
}  # fmt: skip


def records(data: bytes, **options) -> list[AnyRecord]:
    canonical = io.BytesIO()
    report = check(data, canonical=canonical, **options)
    assert report.error is None, report.error
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(canonical.getvalue()).splitlines()
    assert len(lines) == report.counts.usable
    return [parse_record.validate_json(line) for line in lines]


@pytest.mark.parametrize("name", PAIRS)
def test_each_format_is_found_and_converted(name):
    found = records(jsonl([PAIRS[name](number) for number in range(12)]))
    assert len(found) == 12
    assert found[3].origin.model_dump() == {"line": 4, "format": name}
    assert [message.model_dump(exclude_none=True) for message in found[3].prompt] == [turn("user", "What is 3 + 1?")]
    assert [message.model_dump(exclude_none=True) for message in found[3].chosen] == [turn("assistant", "It is 4.")]
    assert [message.model_dump(exclude_none=True) for message in found[3].rejected] == [turn("assistant", "No idea.")]
    assert not found[3].meta.keys() - SCORES


@pytest.mark.parametrize("name", BUILDERS)
def test_a_named_format_is_not_detected(name):
    data = jsonl([BUILDERS[name](number) for number in range(12)])
    assert check(data, format=name).usable
    other = "hh_rlhf" if name == "openai_preference" else "openai_preference"
    refused = check(data, format=other)
    assert refused.counts.bad == 12
    assert refused.format == other


def test_an_unknown_name_of_a_format_is_the_callers_mistake():
    with pytest.raises(BadInput) as error:
        check(b"", format="parquet")
    assert error.value.param == "format"


@pytest.mark.parametrize("column", ["question", "input"])
def test_triples_under_other_prompt_columns_with_a_system_text(column):
    rows = [{column: f"q{n}", "system": "Be brief.", "chosen": " Yes", "rejected": " No"} for n in range(10)]
    first = records(jsonl(rows))[0]
    assert [(m.role, m.content) for m in first.prompt] == [("system", "Be brief."), ("user", "q0")]
    assert first.chosen[0].content == " Yes"


def test_given_ids_stay_and_others_follow_from_the_content():
    rows = [openai(n) for n in range(10)]
    rows[0]["id"], rows[1]["id"] = "mine", 7
    found = records(jsonl(rows))
    assert [found[0].id, found[1].id] == ["mine", "7"]
    assert found[2].id.startswith("pair-")
    moved = records(jsonl([openai(2), *rows]))
    assert moved[0].id == found[2].id


def test_unknown_fields_go_to_meta_and_are_told():
    rows = [openai(n) | {"origin_of": "x", "score": n} for n in range(10)]
    rows[0]["preferred_output"][0]["rating"] = 5
    rows[0]["input"]["parallel_tool_calls"] = True
    rows[1]["meta"] = {"by": "me", "none": None}
    found = records(jsonl(rows))
    assert found[0].meta == {
        "origin_of": "x",
        "score": 0,
        "preferred_output[0].rating": 5,
        "input.parallel_tool_calls": True,
    }
    assert found[1].meta == {"by": "me", "none": None, "origin_of": "x", "score": 1}
    warning = next(w for w in check(jsonl(rows)).warnings if w.code == "extra_fields")
    assert warning.count == 10
    assert "origin_of" in warning.message
    assert warning.lines[:2] == [1, 2]


def test_meta_itself_is_nothing_to_warn_of():
    rows = [openai(n) | {"meta": {"by": "me"}} for n in range(10)]
    assert {each.code for each in check(jsonl(rows)).warnings} == {"few_pairs"}
    rows[3]["rater"] = 7
    (warning,) = [each for each in check(jsonl(rows)).warnings if each.code == "extra_fields"]
    assert (warning.lines, warning.message) == ([4], "Fields that training does not use were kept in `meta`: rater.")
    assert records(jsonl(rows))[3].meta == {"by": "me", "rater": 7}


def test_text_parts_are_joined_and_null_fields_ignored():
    rows = [openai(n) for n in range(10)]
    rows[0]["preferred_output"] = [
        turn(
            "assistant", [{"type": "text", "text": "It is "}, {"type": "text", "text": "1."}], refusal=None, audio=None
        )
    ]
    assert records(jsonl(rows))[0].chosen[0].content == "It is 1."


def test_tool_calls_and_tools_are_kept():
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": null}'}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"x": None}}}]
    row = openai()
    row["input"] = {
        "messages": [
            turn("user", "1+1?"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            turn("tool", "2", tool_call_id="c1"),
        ],
        "tools": tools,
    }
    found = records(jsonl([row, *[openai(n) for n in range(10)]]))[0]
    assert found.tools == tools
    assert found.prompt[1].tool_calls == [call]
    assert found.prompt[2].tool_call_id == "c1"


def test_an_answer_may_be_a_tool_call():
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    row = conversational()
    row["chosen"] = [{"role": "assistant", "tool_calls": [call]}]
    found = records(jsonl([row, *[conversational(n) for n in range(10)]]))[0]
    assert found.chosen[0].tool_calls == [call]
    assert found.chosen[0].content is None


def test_implicit_prompt_stops_before_the_last_message():
    row = implicit()
    shared = [turn("system", "s"), turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    row["chosen"], row["rejected"] = [*shared, turn("assistant", "d")], [*shared, turn("assistant", "e")]
    found = records(jsonl([row, *[implicit(n) for n in range(10)]]))[0]
    assert [m.content for m in found.prompt] == ["s", "a", "b", "c"]
    assert [m.content for m in found.chosen] == ["d"]


def test_hh_answer_that_holds_the_marker_itself():
    asked = "\n\nHuman: Hi\n\nAssistant:"
    row = {"chosen": f"{asked} One\n\nAssistant: more", "rejected": f"{asked} Two"}
    found = records(jsonl([row, *[hh(n) for n in range(10)]]))[0]
    assert [m.content for m in found.prompt] == ["Hi"]
    assert found.chosen[0].content == "One\n\nAssistant: more"
    assert found.rejected[0].content == "Two"


def test_hh_dialogues_that_part_early_keep_their_turns():
    asked = "\n\nHuman: Hi\n\nAssistant:"
    row = {"chosen": f"{asked} One\n\nHuman: And?\n\nAssistant: Two", "rejected": f"{asked} Three"}
    found = records(jsonl([row, *[hh(n) for n in range(10)]]))[0]
    assert [(m.role, m.content) for m in found.chosen] == [("assistant", "One"), ("user", "And?"), ("assistant", "Two")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [turn("user", "a"), turn("assistant", "b")]},
        {"prompt": "a", "completion": "b"},
        {"question": "a", "answers": ["b", "c"]},
        {"prompt": "a", "responses": ["b", "c"]},
        {"chosen": "no markers", "rejected": "none"},
        {},
    ],
)
def test_other_layouts_are_refused_with_the_list_of_those_that_are_read(row):
    report = check(jsonl([row] * 20))
    assert report.error.code == "format_unknown"
    for name in BUILDERS:
        assert name in report.error.message
    for key in row:
        assert f"`{key}`" in report.error.message
    assert report.digest is None


def test_two_formats_in_one_file_are_named():
    report = check(jsonl([openai(n) for n in range(10)] + [triple(n) for n in range(6)]))
    assert report.error.code == "format_mixed"
    assert "openai_preference (10 of 16 rows, first on line 1)" in report.error.message
    assert "plain_triple (6 of 16 rows, first on line 11)" in report.error.message


def test_five_percent_of_another_format_become_errors_by_line():
    report = check(jsonl([openai(n) for n in range(99)] + [triple(1)]))
    assert report.format == "openai_preference"
    assert [(error.line, error.code, error.path) for error in report.errors] == [(100, "field_missing", "input")]


def test_a_stray_row_after_the_sample_is_an_error_of_its_line():
    report = check(jsonl([openai(n) for n in range(300)] + [triple(1)]))
    assert [(error.line, error.code) for error in report.errors] == [(301, "field_missing")]


def test_canonical_lines_are_the_contracts_and_hold_no_nulls():
    canonical = io.BytesIO()
    check(jsonl([openai(n) for n in range(10)]), canonical=canonical)
    line = zstandard.ZstdDecompressor().decompressobj().decompress(canonical.getvalue()).splitlines()[0]
    assert list(json.loads(line)) == ["id", "prompt", "weight", "meta", "origin", "kind", "chosen", "rejected"]
