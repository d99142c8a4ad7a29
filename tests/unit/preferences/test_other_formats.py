"""What is particular to each layout: scores, ties, turns, tools, and what is refused."""

import json

import pytest

from preferences.page.contents import counted
from tests.unit.preferences.rows import (
    alpaca,
    alpaca_legacy,
    among_good,
    argilla,
    axolotl,
    check,
    helpsteer,
    jsonl,
    nemo_aligner,
    nemo_rl,
    sharegpt,
    swift,
    swift_messages,
    triple,
    turn,
    ultrafeedback,
    vertex,
)
from tests.unit.preferences.test_formats import records


def said(turns):
    return [(each.role, each.content) for each in turns]


@pytest.mark.parametrize(
    ("build", "name"),
    [(alpaca_legacy, "llamafactory_alpaca"), (swift_messages, "swift_axolotl"), (axolotl, "swift_axolotl")],
)
def test_the_other_shapes_of_a_format(build, name):
    first, *_ = records(jsonl([build(n) for n in range(10)]))
    assert (first.origin.format, first.meta) == (name, {})
    assert said(first.prompt) == [("user", "What is 0 + 1?")]
    assert (said(first.chosen), said(first.rejected)) == ([("assistant", "It is 1.")], [("assistant", "No idea.")])


@pytest.mark.parametrize(
    ("build", "margin"),
    [(nemo_aligner, 3.5), (argilla, 3.5), (ultrafeedback, 5.5), (helpsteer, 2.0), (vertex, None), (nemo_rl, None)],
)
def test_scores_become_a_margin(build, margin):
    report = check(jsonl([build(n) for n in range(10)]))
    assert report.columns == (["margin"] if margin else [])
    assert {each.margin for each in records(jsonl([build(n) for n in range(10)]))} == {margin}


def test_scores_against_the_choice_make_no_margin_and_stay():
    rows = [ultrafeedback(n) | {"score_chosen": 1.0} for n in range(10)]
    assert {(each.margin, each.meta["score_chosen"]) for each in records(jsonl(rows))} == {(None, 1.0)}


def test_a_margin_that_is_given_comes_before_one_that_is_computed():
    assert {each.margin for each in records(jsonl([argilla(n) | {"margin": 0.25} for n in range(10)]))} == {0.25}


def vertex_scored(*scores):
    row = vertex(1)
    for each, score in zip(row["completions"], scores, strict=True):
        each["score"] = score
    return row


def ranked_rl(*ranks):
    row = nemo_rl(1)
    for each, rank in zip(row["completions"], ranks, strict=True):
        each["rank"] = rank
    return row


@pytest.mark.parametrize(
    ("row", "build"),
    [
        (helpsteer(1) | {"overall_preference": 0}, helpsteer),
        (vertex_scored(1, 1), vertex),
        (ranked_rl(0, 0), nemo_rl),
    ],
)
def test_neither_better_is_a_tie(row, build):
    data = among_good(row, build)
    report = check(data)
    assert (report.counts.pairs, report.counts.ties, report.counts.usable) == (39, 1, 40)
    assert [warning.lines for warning in report.warnings if warning.code == "tie_dropped"] == [[12]]
    tie = records(data)[11]
    assert (tie.kind, said(tie.chosen) == said(tie.rejected)) == ("tie", False)


def with_ties(pairs, ties):
    return check(jsonl([helpsteer(n) | ({} if n < pairs else {"overall_preference": 0}) for n in range(pairs + ties)]))


@pytest.mark.parametrize(("pairs", "told"), [(0, "0 usable pairs, 121 ties"), (9, "9 usable pairs, 121 ties")])
def test_ties_are_no_pairs(pairs, told):
    error = with_ties(pairs, 121).error
    assert (error.code, error.message) == ("too_few_pairs", f"{told}; at least 10 are needed.")


def test_ties_do_not_hide_that_pairs_are_few():
    report = with_ties(12, 118)
    assert report.status_details == "12 pairs, 118 ties taken."
    notice = next(each for each in report.warnings if each.code == "few_pairs")
    assert (notice.count, notice.message) == (12, "12 pairs are few; below 100 little is learned.")
    assert ("ties", 118, 130) in counted(report.counts)


def test_helpsteer_below_zero_means_the_first_and_each_judge_counts():
    judged = [{"score": -2, "reasoning": "clear"}, {"score": 0}, {"score": 1}]
    rows = [helpsteer(n) | {"overall_preference": -1, "individual_preference": judged} for n in range(10)]
    first, *_ = records(jsonl(rows))
    assert (said(first.chosen), first.margin) == ([("assistant", "No idea.")], 1.0)
    assert [(each.choice, each.strength) for each in first.annotators] == [("chosen", 2), ("tie", 0), ("rejected", 1)]
    assert first.meta == {"chosen_position": 1, "individual_preference": judged}


def test_more_than_two_completions_of_nemo_make_rankings():
    rows = [nemo_rl(n) for n in range(12)]
    for row in rows[3:]:
        row["completions"].append({"rank": 0, "completion": [turn("assistant", "Some number.")]})
    report = check(jsonl(rows))
    assert (report.kind, report.counts.rankings, report.counts.ties) == ("ranking", 12, 9)
    assert records(jsonl(rows))[3].ranks == [2, 1, 1]


def test_marks_of_nemo_aligner_part_the_turns():
    text = "<extra_id_0>System\nBe kind.\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nAnd?\n"
    rows = [nemo_aligner(n) | {"prompt": f"{text}<extra_id_1>Assistant\n"} for n in range(10)]
    first, *_ = records(jsonl(rows))
    assert said(first.prompt) == [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "And?")]
    assert said(first.chosen) == [("assistant", "It is 1.")]


def test_alpaca_joins_instruction_and_input_behind_system_and_history():
    more = {"input": "3 4", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    first, *_ = records(jsonl([alpaca(n) | more for n in range(10)]))
    assert said(first.prompt) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "What is 0 + 1?\n3 4"),
    ]


def test_calls_and_observations_of_sharegpt_become_tool_turns():
    call = json.dumps({"name": "add", "arguments": {"a": 1, "b": 1}})
    row = sharegpt(1) | {"tools": json.dumps([{"name": "add", "parameters": {}}])}
    row["conversations"] = [
        {"from": "human", "value": "1 + 1?"},
        {"from": "function_call", "value": call},
        {"from": "observation", "value": "2"},
    ]
    record = records(among_good(row, sharegpt))[11]
    assert [each.role for each in record.prompt] == ["user", "assistant", "tool"]
    assert record.prompt[1].tool_calls == [
        {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 1}}}
    ]
    assert record.tools == [{"name": "add", "parameters": {}}]


def changed(build, path, value):
    row = json.loads(json.dumps(build(1)))
    *steps, last = path
    inner = row
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return row


COMPLETION = ["completions", 0, "completion"]
REFUSED = {
    "picture of vertex": (
        vertex,
        ["contents", 0, "parts", 0],
        {"inlineData": {}},
        "content_part_unsupported",
        "contents[0].parts[0].inlineData",
    ),
    "call of vertex": (
        vertex,
        [*COMPLETION, "parts", 0],
        {"functionCall": {}},
        "content_part_unsupported",
        "completions[0].completion.parts[0].functionCall",
    ),
    "role of vertex": (vertex, [*COMPLETION, "role"], "bot", "role_invalid", "completions[0].completion.role"),
    "three of vertex": (vertex, ["completions"], [{}, {}, {}], "rank_invalid", "completions"),
    "score of vertex": (vertex, ["completions", 0, "score"], "1", "rank_invalid", "completions[0].score"),
    "parts of vertex": (vertex, ["contents", 0, "parts"], "hi", "field_type", "contents[0].parts"),
    "rank of nemo": (nemo_rl, ["completions", 1, "rank"], None, "rank_invalid", "completions[1].rank"),
    "completion of nemo": (
        nemo_rl,
        ["completions", 1, "completion"],
        None,
        "field_missing",
        "completions[1].completion",
    ),
    "one of nemo": (nemo_rl, ["completions"], [{"rank": 1}], "rank_invalid", "completions"),
    "text before marks": (nemo_aligner, ["prompt"], "x<extra_id_1>User\nHi\n", "role_order", "prompt"),
    "response a number": (argilla, ["chosen_response"], 4, "field_type", "chosen_response"),
    "from nobody": (sharegpt, ["conversations", 0, "from"], "bot", "role_invalid", "conversations[0].from"),
    "no from": (sharegpt, ["chosen"], {"value": "x"}, "field_missing", "chosen.from"),
    "value a list": (sharegpt, ["chosen", "value"], [], "field_type", "chosen.value"),
    "call no json": (
        sharegpt,
        ["chosen"],
        {"from": "function_call", "value": "add(1)"},
        "tool_call_unresolved",
        "chosen.value",
    ),
    "call no name": (
        sharegpt,
        ["chosen"],
        {"from": "function_call", "value": "{}"},
        "tool_call_unresolved",
        "chosen.value",
    ),
    "tools no json": (sharegpt, ["tools"], "[{", "tools_schema_invalid", "tools"),
    "observation first": (
        sharegpt,
        ["conversations"],
        [{"from": "observation", "value": "2"}],
        "tool_call_unresolved",
        "conversations[0]",
    ),
    "history a text": (alpaca, ["history"], "x", "field_type", "history"),
    "history of three": (alpaca, ["history"], [["a", "b", "c"]], "field_type", "history[0]"),
    "legacy of three": (alpaca_legacy, ["output"], ["a", "b", "c"], "rank_invalid", "output"),
    "messages end asked": (swift, ["messages"], [turn("user", "Hi")], "completion_not_assistant", "messages"),
    "nothing shared": (swift_messages, ["rejected_messages", 0, "content"], "Else", "no_common_prefix", "messages"),
    "chosen a number": (axolotl, ["chosen"], 3, "field_type", "chosen"),
    "another prompt": (ultrafeedback, ["prompt"], "Else", "no_common_prefix", "prompt"),
    "strength of four": (helpsteer, ["overall_preference"], 4, "rank_invalid", "overall_preference"),
    "no strength": (helpsteer, ["overall_preference"], None, "field_missing", "overall_preference"),
    "context a number": (helpsteer, ["context"], 4, "field_type", "context"),
    "images beside": (triple, ["images"], ["a.png"], "content_part_unsupported", "images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_each_format(case):
    build, path, value, code, at = REFUSED[case]
    (error,) = check(among_good(changed(build, path, value), build)).errors
    assert (error.line, error.code, error.path) == (12, code, at)


def test_rows_that_could_be_of_two_formats_name_both():
    rows = [triple(n) | {"instruction": "Say it."} for n in range(20)]
    report = check(jsonl(rows))
    assert report.error.code == "format_mixed"
    assert "llamafactory_alpaca or plain_triple" in report.error.message
    assert check(jsonl(rows), format="plain_triple").usable
