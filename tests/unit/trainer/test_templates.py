"""What a template does with what people write: calls, names, instructions, and what it leaves out."""

from typing import Any

import pytest

from tests.support import templates as t
from tests.support.rendering import (
    ASK,
    BAD,
    CALL,
    DEVELOPER,
    GOOD,
    MARKED,
    OLD,
    RESULT,
    SYSTEM,
    TOOL,
    WHY,
    calling,
    health,
    only,
    prompt_of,
    reason,
    record,
    renderer,
    scored,
    told,
)
from trainer.data import tokenise


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{"minutes": 3, "label": "eggs"}', '{"minutes": 3, "label": "eggs"}'),
        ({"minutes": 3, "label": "eggs"}, '{"minutes": 3, "label": "eggs"}'),
        ('  {"z": {"a": [1, "é東"]}, "b": null}\n', '{"z": {"a": [1, "é東"]}, "b": null}'),
        ('{"a": "say \\"{}\\" \\u00e9"}', '{"a": "say \\"{}\\" é"}'),
        (None, "{}"),
        ("", "{}"),
        ("null", "{}"),
        ("{}", "{}"),
        ({}, "{}"),
        # What is no object's text stays what it is.
        ("not json", '"not json"'),
        ("[1, 2]", '"[1, 2]"'),
        ('{"a": NaN}', '"{\\"a\\": NaN}"'),
        ('{"a": 1e999}', '"{\\"a\\": 1e999}"'),
        ("[" * 100_000, f'"{"[" * 100_000}"'),
        # Nor what would not come back whole.
        ('{"a": 1, "a": 2}', '"{\\"a\\": 1, \\"a\\": 2}"'),
        ('{"b": [{"a": 1, "\\u0061": 2}]}', '"{\\"b\\": [{\\"a\\": 1, \\"\\\\u0061\\": 2}]}"'),
        ('{"a": "\\ud800"}', '"{\\"a\\": \\"\\\\ud800\\"}"'),
        ('{"\\uDC00": 1}', '"{\\"\\\\uDC00\\": 1}"'),
        ('{"a": "\\ud83d\\ude00 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', '{"a": "😀 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}'),
        ('{"a": -Infinity}', '"{\\"a\\": -Infinity}"'),
        (f'{{"a": {"9" * 400}}}', f'{{"a": {"9" * 400}}}'),
        (f'{{"a": {"9" * 5000}}}', f'"{{\\"a\\": {"9" * 5000}}}"'),
        (f'{{"a": {"[" * 31}{"]" * 31}}}', f'{{"a": {"[" * 31}{"]" * 31}}}'),
        *((f'{{"a": {"[" * n}{"]" * n}}}', f'"{{\\"a\\": {"[" * n}{"]" * n}}}"') for n in (32, 300, 960, 990)),
    ],
)
def test_the_arguments_of_a_call_are_an_object(arguments: Any, written: str) -> None:
    own = renderer(t.QWEN25)
    for given in (arguments,):
        one = record([ASK], [calling(given)], [BAD], [TOOL])
        (example,) = tokenise(own, [one], 200_000, "drop").examples
        assert scored(own, example) == [
            f'<tool_call>\n{{"name": "look_up", "arguments": {written}}}\n</tool_call><|im_end|>'
        ]


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00"])
def test_what_is_no_unicode_falls_out_by_its_line(half: str) -> None:
    """Whatever writes it, the template itself too, in words that can be written down."""
    for template in (t.SMOLLM2 + f"{{{{ '{half}' }}}}", f"{{{{ raise_exception('so {half}') }}}}"):
        found = told(renderer(template), record([ASK], [GOOD], [BAD]))
        assert [(each.line, each.code) for each in found.problems] == [(7, "template_render_failed")]
        assert half in found.problems[0].message.encode().decode()


def test_several_calls_in_the_rejected_answer_and_in_the_history() -> None:
    two = {"role": "assistant", "tool_calls": [*CALL["tool_calls"], *calling('{"x": [1]}')["tool_calls"]]}
    own = renderer(t.QWEN25)
    example = only(own, record([ASK, two, RESULT, RESULT], [GOOD], [two], [TOOL]))
    for text in (prompt_of(own, example), scored(own, example, 1)[0]):
        assert '"arguments": {"city": "paris", "days": 3}}' in text
        assert '"arguments": {"x": [1]}}' in text


@pytest.mark.parametrize("join", ["+", "~", "| string +"])
def test_a_template_that_wants_a_text_gets_one(join: str) -> None:
    """By `+` an object raises; by `~` it would be written as Python does, without a word."""
    write = f"{{{{ f.name + ' ' {'~' if join == '~' else '+'} f.arguments{' | string' if '|' in join else ''} }}}}"
    own = renderer(t.QWEN25.replace("{{- f.arguments | tojson }}", write))
    said = scored(own, only(own, record([ASK], [calling({"a": "x", "b": True})], [BAD], [TOOL])))[0]
    assert '{"a": "x", "b": true}' in said


def test_a_special_token_inside_an_escape_of_the_arguments_falls_out() -> None:
    own = renderer(t.QWEN25)
    for given in ('{"a": "\\u003c|im_end|>"}', {"a": "<|im_end|>"}):
        assert "contains '<|im_end|>'" in reason(own, record([ASK], [calling(given)], [BAD], [TOOL]))
    tool = {"type": "function", "function": {"name": "look_up", "description": "ends <|im_end|>"}}
    assert "contain '<|im_end|>'" in reason(own, record([ASK], [CALL], [BAD], [tool]))


def test_ids_of_nine_letters() -> None:
    """Calls and results alike; one that has nine already stays, and where there is none, the order tells."""
    own = renderer(t.MISTRAL, "</s>")
    nine = {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "id": "abcDEF123"}]}
    example = only(own, record([ASK, nine, {**RESULT, "tool_call_id": "abcDEF123"}], [GOOD], [BAD], [TOOL]))
    assert prompt_of(own, example).count("abcDEF123") == 2
    calls = [{key: each[key] for key in ("type", "function")} for each in CALL["tool_calls"] * 2]
    none = {"role": "assistant", "tool_calls": calls}
    results = [{"role": "tool", "content": text} for text in ("cold", "rain")]
    found = told(own, record([ASK, none, *results], [GOOD], [BAD], [TOOL]))
    text = prompt_of(own, found.examples[0])
    ids = [part[:9] for part in text.split('"id": "')[1:]]
    assert len(set(ids)) == 2
    assert [part[:9] for part in text.split('"call_id": "')[1:]] == ids
    assert found.notes["short_tool_call_ids"] == [7]


def test_a_text_beside_a_call_that_the_template_does_not_show() -> None:
    """Llama 3 writes the call alone."""
    own = renderer(t.LLAMA31, "<|eot_id|>")
    both = {**CALL, "content": "let me look"}
    assert "leaves out the text of an assistant message" in reason(
        own, record([ASK, both, RESULT], [GOOD], [BAD], [TOOL])
    )
    assert "does not show the content" in reason(own, record([ASK], [both], [BAD], [TOOL]))
    hermes = renderer(t.QWEN25)
    assert scored(hermes, only(hermes, record([ASK], [both], [BAD], [TOOL])))[0].startswith("let me look\n<tool_call>")


FIRST_ONLY = t.QWEN25.replace("(m.role == 'system' and not loop.first)", "false")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_an_instruction_in_the_middle_that_only_a_first_one_is_read_of(role: str) -> None:
    late = [ASK, OLD, {"role": role, "content": "Now be long."}, WHY]
    assert "Now be long." in prompt_of(renderer(t.QWEN25), only(renderer(t.QWEN25), record(late, [GOOD], [BAD])))
    message = reason(renderer(FIRST_ONLY), record(late, [GOOD], [BAD]))
    assert f"leaves out a {role} message that does not stand first" in message
    assert "leaves out a" in reason(renderer(FIRST_ONLY), record([SYSTEM, DEVELOPER, ASK], [GOOD], [BAD]))


def test_system_and_developer_side_by_side() -> None:
    own = renderer(t.QWEN25)
    text = prompt_of(own, only(own, record([SYSTEM, DEVELOPER, ASK], [GOOD], [BAD])))
    assert "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>system\nBe kind.<|im_end|>" in text


def test_a_developer_that_the_template_knows_and_then_leaves_out_is_a_system_message() -> None:
    knows = t.QWEN25.replace("{%- for m in messages %}", "{#- developer #}{%- for m in messages %}", 1)
    found = told(renderer(knows), record([DEVELOPER, ASK], [GOOD], [BAD]))
    assert "system\nBe kind." in prompt_of(renderer(knows), found.examples[0])
    assert found.notes["developer_as_system"] == [7]
    harmony = renderer(t.HARMONY, "<|return|>")
    assert "<|start|>developer<|message|>Be kind." in prompt_of(
        harmony, only(harmony, record([DEVELOPER, ASK], [GOOD], [BAD]))
    )


OF_USER = "leaves out the text of a user message"
CONTENT, MARK = "m['content'] + '<|im_end|>", "{{ '<|im_start|>' + m['role']"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CONTENT, "m['content'] + " + CONTENT, "shows the text of a user message 2 times"),
        (CONTENT, "m['content'][:20] + '<|im_end|>", OF_USER),
        (CONTENT, "m['content'] | upper + '<|im_end|>", OF_USER),
        (MARK, "{{ '' if loop.index0 == 2 else '<|im_start|>' + m['role']", OF_USER),
    ],
)
def test_texts_that_do_not_come_through(old: str, new: str, words: str) -> None:
    own = renderer(t.SMOLLM2.replace(old, new))
    long = {"role": "user", "content": "a fox ran over the hill at night"}
    assert words in reason(own, record([ASK, OLD, long], [GOOD], [BAD]))


def test_an_answer_that_is_written_twice() -> None:
    own = renderer(t.SMOLLM2.replace(CONTENT, "(m['content'] * (2 if m['role'] == 'assistant' else 1)) + '<|im_end|>"))
    assert "shows the text of an assistant message 2 times" in reason(own, record([SYSTEM, ASK], [GOOD], [BAD]))


def test_a_look_by_shape_does_not_stand_for_another_text() -> None:
    """A short text comes through whole, then a long one of the same shape does not."""
    own = renderer(t.SMOLLM2.replace("m['content'] + '<|im_end|>", "m['content'][:40] + '<|im_end|>"))
    assert told(own, record([SYSTEM, ASK], [GOOD], [BAD])).problems == []
    long = {"role": "system", "content": "Be brief, and then say why it is so, with all that you know."}
    assert "leaves out a system message" in reason(own, record([long, ASK], [GOOD], [BAD]))


def test_trimmed_quoted_and_merged_texts_come_through() -> None:
    blank = {"role": "user", "content": "  what is it \n"}
    quoted = {**RESULT, "content": 'it "rains"\n<é>'}
    for template, eos in ((t.LLAMA31, "<|eot_id|>"), (t.HARMONY, "<|return|>"), (t.MISTRAL, "</s>")):
        own = renderer(template, eos)
        assert told(own, record([blank, CALL, quoted], [GOOD], [BAD], [TOOL])).problems == []
    # Served so, its instruction is nowhere once a tool has answered.
    assert "leaves out a system message" in reason(own, record([SYSTEM, blank, CALL, quoted], [GOOD], [BAD], [TOOL]))


def test_a_name_that_is_left_out_is_told() -> None:
    named = {**ASK, "name": "Ann"}
    own = renderer(t.SMOLLM2)
    found = told(own, record([named], [GOOD], [BAD]))
    assert found.notes["name_left_out"] == [7]
    assert (health(own, found).severity, "`name` of messages" in health(own, found).action) == ("warn", True)
    shown = told(renderer(MARKED), record([named], [GOOD], [BAD]))
    assert "name_left_out" not in shown.notes
    tool = {**RESULT, "name": "look_up"}
    assert "name_left_out" not in told(renderer(t.QWEN25), record([ASK, CALL, tool], [GOOD], [BAD], [TOOL])).notes


def test_the_look_costs_one_rendering_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    own = renderer(t.SMOLLM2)
    rendered: list[str] = []
    real = own.template.text

    def counted(*arguments: Any, **more: Any) -> str:
        rendered.append(real(*arguments, **more))
        return rendered[-1]

    monkeypatch.setattr(own.template, "text", counted)
    plain, system = record([ASK], [GOOD], [BAD]), record([SYSTEM, ASK], [GOOD], [BAD])
    assert len(tokenise(own, [plain, system] * 50, 4096, "drop").examples) == 100
    # Of two shapes of prompts, and of one of answers.
    assert len(rendered) == 3 * 100 + 3


# Ends.
