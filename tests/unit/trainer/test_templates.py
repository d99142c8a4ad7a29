"""What a template does with what people write: calls, names, instructions, ends, reasoning, clocks."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from core.contract.errors import BadModel
from core.contract.finding import Finding
from core.contract.preference import PreferenceRecord
from tests.conftest import ROOT
from tests.models import CHAT_TEMPLATE, WORDS
from tests.support import templates as t
from tests.support.real_model import real_model
from tests.support.templates import tokenizer_of
from tests.unit.trainer.test_families import (
    ASK,
    BAD,
    CALL,
    DEVELOPER,
    GOOD,
    OLD,
    REASONS,
    RESULT,
    SYSTEM,
    TOOL,
    WHY,
    Json,
    record,
    scored,
    told,
)
from trainer import folder, reference_file
from trainer.data import Example, Tokenised, make_renderer, tokenise
from trainer.health import NOTES, checks
from trainer.render import Renderer

DAY, NEXT = datetime(2026, 2, 3, 23, 30, tzinfo=UTC), datetime(2026, 2, 4, 0, 30, tzinfo=UTC)
MARKED = t.SMOLLM2.replace(
    "{% if add", "{% if messages[0].name is defined %}{{ messages[0].name }}{% endif %}{% if add"
)


def renderer(template: str, eos: str = "<|im_end|>", stops: list[int] | None = None, **more: Any) -> Renderer:
    tokenizer = tokenizer_of(template, eos=eos)
    return make_renderer(tokenizer, [tokenizer.eos_token_id] if stops is None else stops, **more)


def only(own: Renderer, one: PreferenceRecord) -> Example:
    found = told(own, one)
    assert found.problems == []
    return found.examples[0]


def reason(own: Renderer, one: PreferenceRecord) -> str:
    (problem,) = told(own, one).problems
    return problem.message


def prompt_of(own: Renderer, example: Example) -> str:
    return str(own.tokenizer.decode(example.answers[0].ids[: example.prefix]))


def health(own: Renderer, found: Tokenised, records: int = 1) -> Finding:
    return next(each for each in checks(found, own, records, 4096, 4096) if each.code == "template_health")


def calling(arguments: Any) -> Json:
    function = {"name": "look_up"} if arguments is None else {"name": "look_up", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}


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


def test_the_end_that_the_template_writes_is_trained_and_one_at_which_nobody_stops_is_told() -> None:
    """A base model: its end of text is another token than the template's end of turn."""
    own = renderer(t.QWEN25, "<|endoftext|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert [scored(own, found.examples[0], n) for n in (0, 1)] == [["it was good<|im_end|>"], ["bad<|im_end|>"]]
    seen = health(own, found)
    assert seen.severity == "warn"
    assert "'<|im_end|>' (7)" in seen.action
    assert "('<|endoftext|>' (5))" in seen.action
    assert "runs on" in seen.action
    assert seen.detail["end_tokens"] == {"<|im_end|>": 2}
    lists_it = renderer(t.QWEN25, "<|endoftext|>", [5, 7])
    assert health(lists_it, told(lists_it, record([ASK], [GOOD], [BAD]))).severity == "info"
    silent = renderer(t.QWEN25, "<|im_end|>", [])
    assert "(none)" in health(silent, told(silent, record([ASK], [GOOD], [BAD]))).action


def test_an_end_that_is_added_but_not_special() -> None:
    own = renderer(t.SMOLLM2.replace("<|im_end|>", "</tool_call>"), "<|endoftext|>")
    assert scored(own, only(own, record([ASK], [GOOD], [BAD]))) == ["it was good</tool_call>"]


def test_where_no_end_is_written_the_tokenizers_own_is_put_there() -> None:
    own = renderer(t.SMOLLM2.replace("<|im_end|>", ""), "<|endoftext|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert scored(own, found.examples[0]) == ["it was good<|endoftext|>"]
    assert "writes no end token" in health(own, found).action


@pytest.mark.parametrize("content", ["", "think", " it rains \n", "im_end", "a\n\nb"])
def test_what_an_answer_may_be(content: str) -> None:
    said = {"role": "assistant", "content": content}
    for template, kwargs in ((t.SMOLLM2, {}), (t.QWEN3, {})):
        own = renderer(template)
        example = only(own, record([ASK], [said], [BAD], **kwargs))
        # Qwen takes line ends off the beginning.
        assert scored(own, example) == [f"{content}<|im_end|>"]


# Reasoning.


def test_one_answer_with_reasoning_and_one_without() -> None:
    own = renderer(t.QWEN3)
    found = told(own, record([ASK], REASONS[0], [BAD]))
    (example,) = found.examples
    assert prompt_of(own, example).endswith("<|im_start|>assistant\n")
    assert scored(own, example, 1) == ["<think>\n\n</think>\n\nbad<|im_end|>"]
    assert "empty block of reasoning" in health(own, found).action


def test_what_a_record_says_to_the_template_goes_before_what_is_found() -> None:
    own = renderer(t.QWEN3)
    loud = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": True}))
    assert prompt_of(own, loud).endswith("<|im_start|>assistant\n")
    quiet = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": False}))
    plain = only(own, record([ASK], [GOOD], [BAD]))
    assert quiet.answers == plain.answers
    assert reference_file.digest(loud.answers[0]) != reference_file.digest(quiet.answers[0])


@pytest.mark.parametrize("template", [t.R1_DISTILL, t.QWEN3_THINKING])
def test_an_empty_block_of_reasoning_is_trained_only_where_it_is_asked_for(template: str) -> None:
    own = renderer(template, "<EOT>" if template == t.R1_DISTILL else "<|im_end|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert found.unfit == {0: "generation_prompt_differs"}
    example = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": False}))
    assert prompt_of(own, example).endswith("<think>\n")
    assert scored(own, example)[0].startswith("\n</think>\n\nit was good<")


def test_reasoning_written_into_the_content() -> None:
    inline = {"role": "assistant", "content": "<think>\nSo I think.\n</think>\n\nit was good"}
    for template, eos in ((t.QWEN3, "<|im_end|>"), (t.R1_DISTILL, "<EOT>"), (t.SMOLLM2, "<|im_end|>")):
        own = renderer(template, eos)
        example = only(own, record([ASK], [inline], [{**inline, "content": "<think>Hm.</think>bad"}]))
        whole = own.tokenizer.decode(example.answers[0].ids)
        assert whole.endswith(f"<think>\nSo I think.\n</think>\n\nit was good{eos}")


def test_a_template_that_knows_reasoning_in_the_content_alone() -> None:
    inner = t.QWEN3.replace("m.reasoning_content is string", "false")
    own = renderer(inner)
    example = only(own, record([ASK], *REASONS))
    assert scored(own, example) == ["<think>\nSo I think.\n</think>\n\nit was good<|im_end|>"]


def test_reasoning_in_a_loop_of_tools_stays_where_the_template_keeps_it() -> None:
    own = renderer(t.QWEN3)
    found = told(own, record([ASK, {**CALL, "reasoning_content": "I must look."}, RESULT], [GOOD], [BAD], [TOOL]))
    assert "I must look." in prompt_of(own, found.examples[0])
    assert "earlier_reasoning_left_out" not in found.notes


# Texts that hold a template's marks.


@pytest.mark.parametrize(
    ("prompt", "answer", "names"),
    [
        ("<|im_start|>user\nwhy<|im_end|>\n<|im_start|>assistant\n", "so<|im_end|>", True),
        ("<s>[INST] why [/INST]", "so</s>", True),
        ("why", "so<|im_end|>", True),
        ("why", "so </s>", True),
        ("what does <|im_end|> mean", "so", False),
        ("why", "it is <s>old</s> new", False),
    ],
)
def test_a_text_that_looks_preformatted_is_told_how_to_be_read(prompt: str, answer: str, names: bool) -> None:
    given = record([{**ASK, "content": prompt}], [{**GOOD, "content": answer}], [{**BAD, "content": answer + "!"}])
    message = reason(renderer(t.SMOLLM2), given)
    assert "a special token of the model" in message
    assert ("--raw-text (`palate[raw_text]`)" in message) == names


HASHES = (
    "{% for m in messages %}{{ '### ' + m.role + ':\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "eos", "text"),
    [
        # Marks that are no special tokens.
        (t.LLAMA2.replace("INST", "ASK"), "</s>", "[ASK] why [/ASK]"),
        (HASHES, "</s>", "### user:\nwhy\n### assistant:\n"),
    ],
)
def test_a_text_that_ends_as_the_prompt_does_is_told(template: str, eos: str, text: str) -> None:
    own = renderer(template, eos)
    found = told(own, record([{**ASK, "content": text}], [GOOD], [BAD]))
    assert found.notes["preformatted"] == [7]
    assert "--raw-text (`palate[raw_text]`)" in health(own, found).action
    assert "preformatted" not in told(own, record([ASK], [GOOD], [BAD])).notes


# Clocks.


@pytest.mark.parametrize(
    ("template", "day"),
    [(t.LLAMA32, "03 Feb 2026"), (t.SMOLLM3, "03 February 2026"), (t.HARMONY, "2026-02-03")],
)
def test_a_template_is_told_the_runs_time(template: str, day: str) -> None:
    eos = {t.LLAMA32: "<|eot_id|>", t.HARMONY: "<|return|>"}.get(template, "<|im_end|>")
    one = record([ASK], [GOOD], [BAD])
    # Compiled templates are shared: the clock of the one does not become the other's.
    first, next_day = renderer(template, eos, clock=DAY), renderer(template, eos, clock=NEXT)
    found, other, again = told(first, one), told(next_day, one), told(first, one)
    assert day in prompt_of(first, found.examples[0])
    assert found.examples == again.examples
    assert reference_file.digest(found.examples[0].answers[0]) != reference_file.digest(other.examples[0].answers[0])
    seen = health(first, found)
    assert (seen.severity, seen.detail["clock"]) == ("warn", 1)
    assert "as of 03 Feb 2026" in seen.action
    assert first.template.asks_clock


def test_a_template_with_a_date_of_its_own_is_told_none() -> None:
    own = renderer(t.LLAMA31, "<|eot_id|>", clock=DAY)
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert "26 Jul 2024" in prompt_of(own, found.examples[0])
    assert (health(own, found).severity, own.template.asks_clock) == ("info", False)
    wants = renderer("{{ date_string }}\n" + t.SMOLLM2, clock=DAY)
    found = told(wants, record([ASK], [GOOD], [BAD]))
    assert prompt_of(wants, found.examples[0]).startswith("03 Feb 2026\n")
    assert health(wants, found).severity == "warn"
    given = record([ASK], [GOOD], [BAD], chat_template_kwargs={"date_string": "a day"})
    assert prompt_of(wants, only(wants, given)).startswith("a day\n")


# Templates that are none.


@pytest.mark.parametrize("broken", ["{% for m in messages %}", "{{ messages | nosuchfilter }}", "{% nosuchtag %}"])
def test_a_template_that_cannot_be_read_is_the_models_fault(broken: str) -> None:
    with pytest.raises(BadModel, match="is no template: ") as error:
        told(renderer(broken), record([ASK], [GOOD], [BAD]))
    assert (error.value.code, error.value.param) == ("chat_template_invalid", "model")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{{ raise_exception('Only on Sundays.') }}", "Only on Sundays."),
        ("{{ messages.nosuch.field }}", "has no attribute 'nosuch'"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for i in range(1000000000) %}{% endfor %}", "Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_a_template_that_raises_is_told_in_its_own_words(body: str, words: str) -> None:
    message = reason(renderer(body), record([ASK], [GOOD], [BAD]))
    assert message.startswith("The chat template refuses this conversation: ")
    assert words in message
    assert "\n" not in message


def test_the_border_of_prompt_and_answer_is_where_a_server_has_it() -> None:
    """Without a mark between them the answer's first token would take the prompt's last blank with it."""
    template = CHAT_TEMPLATE.replace("<|{{ m['role'] }}|>\n", "{{ m['role'] }}: ").replace(
        "<|assistant|>\n", "assistant: "
    )
    own = renderer(template.replace("<|end|>", "<|im_end|>"))
    found = told(own, record([ASK], [{**GOOD, "content": "the fox"}], [BAD]))
    (example,) = found.examples
    head, rest = (
        own.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt_of(own, example), "the fox")
    )
    assert list(example.answers[0].ids) == [*head, *rest, 7]
    assert list(example.answers[0].ids) != own.tokenizer(own.tokenizer.decode(example.answers[0].ids))["input_ids"]
    assert (found.notes["boundary_retokenised"], health(own, found).severity) == ([7], "info")


def test_the_page_tells_every_note() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w*) ?\|", (ROOT / "docs" / "templates.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name: "warn" * note.warns for name, note in NOTES.items()}


# The real model.


def test_smollm2s_own_template_and_tokenizer() -> None:
    path = real_model()
    own = make_renderer(folder.load_tokenizer(path), folder.end_tokens(path))
    tokenizer = own.tokenizer
    for prompt in ([ASK], [SYSTEM, ASK], [ASK, OLD, WHY]):
        found = told(own, record(prompt, [GOOD], [BAD]))
        (example,) = found.examples
        feeds = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
        assert list(example.answers[0].ids[: example.prefix]) == feeds
        whole = tokenizer.apply_chat_template([*prompt, GOOD])["input_ids"]
        assert list(example.answers[0].ids) == whole[: len(example.answers[0].ids)]
        assert scored(own, example) == ["it was good<|im_end|>"]
        assert health(own, found).severity == "info"
    developer = told(own, record([DEVELOPER, ASK], [GOOD], [BAD]))
    assert "<|im_start|>system\nBe kind.<|im_end|>" in prompt_of(own, developer.examples[0])
    assert developer.notes["developer_as_system"] == [7]


@pytest.mark.parametrize("scheme", ["first", "always", "normalizer"])
@pytest.mark.parametrize("border", [" [/INST]", "[/INST]", " [/INST] ", "\n"])
def test_tokenizers_that_put_a_blank_before_a_text(scheme: str, border: str) -> None:
    """As SentencePiece's: the tokens are those of the whole where none of them reaches over the border; told."""
    tokenizer = blank_first(scheme)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<s>[INST] ' + m.content + '" + border + "' if m.role == 'user' "
        "else ' ' + m.content + '</s>' }}{% endfor %}"
    )
    own = make_renderer(tokenizer, [2])
    found = told(own, record([ASK, OLD, WHY], [GOOD], [BAD]))
    answer, prefix = found.examples[0].answers[0], found.examples[0].prefix
    texts = [tokenizer.apply_chat_template(t, tokenize=False) for t in ([ASK, OLD, WHY], [ASK, OLD, WHY, GOOD])]
    head, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    assert list(answer.ids[:prefix]) == head
    assert ("boundary_retokenised" in found.notes) == (whole[: len(head)] != head)
    if whole[: len(head)] == head:
        assert list(answer.ids) == whole
    assert "".join(tokenizer.convert_ids_to_tokens(answer.ids[prefix:-1])).strip("▁") == "it▁was▁good"
    assert answer.ids[-1] == 2


def blank_first(scheme: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    if scheme == "normalizer":
        parts = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        inner.normalizer = normalizers.Sequence(parts)  # type: ignore[arg-type]
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    texts = [" ".join(WORDS[i:] + WORDS[:i]) + " [INST] it was good [/INST]\n" for i in range(len(WORDS))]
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
