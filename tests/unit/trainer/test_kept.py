"""Tools, calls and results go through the chat template, or the record falls out; none is dropped in silence."""

import pytest

from core.contract.preference import Message, Origin, PreferenceRecord
from tests.models import CHAT_TEMPLATE, make_tokenizer
from trainer.data import make_renderer, tokenise

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "paris"}}}
SHOWS_ALL = (
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for m in messages %}<|{{ m['role'] if m['role'] != 'tool' else 'user' }}|>\n{{ m['content'] }}"
    "{% for c in m.get('tool_calls', []) %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NO_TOOLS = SHOWS_ALL.replace("{{ tools | tojson }}<|end|>\n", "")
NO_CALLS = SHOWS_ALL.replace("{{ c.function.name }}{{ c.function.arguments | tojson }}", "")
NO_ARGUMENTS = SHOWS_ALL.replace("{{ c.function.arguments | tojson }}", "")
FIRST_CALL = SHOWS_ALL.replace("m.get('tool_calls', [])", "m.get('tool_calls', [])[:1]")
NO_RESULTS = SHOWS_ALL.replace("{{ m['content'] }}", "{{ m['content'] if m['role'] != 'tool' }}")

ASK = [Message(role="user", content="is it cold")]
CALLED = [
    Message(role="assistant", tool_calls=[CALL, {**CALL, "id": "c2"}]),
    Message(role="tool", content="rain", tool_call_id="c1"),
]


def record(prompt: list[Message], tools: list[dict[str, object]] | None) -> PreferenceRecord:
    said = [[Message(role="assistant", content=text)] for text in ("it was cold rain", "no")]
    return PreferenceRecord(
        id="a", prompt=prompt, chosen=said[0], rejected=said[1], tools=tools, origin=Origin(line=4, format="t")
    )


def test_a_template_that_shows_them_all() -> None:
    renderer = make_renderer(make_tokenizer(SHOWS_ALL), [1])
    found = tokenise(renderer, [record([*ASK, *CALLED], [TOOL])], 256, "drop")
    assert found.problems == []
    text = renderer.tokenizer.decode(found.examples[0].answers[0].ids)
    assert text.count("weather") == 3
    assert text.count("paris") == 2
    assert "rain<|end|>\n<|assistant|>" in text


@pytest.mark.parametrize(
    ("template", "what"),
    [
        (NO_TOOLS, "the tools of the record"),
        (NO_CALLS, "a tool call"),
        (NO_ARGUMENTS, "the arguments of a tool call"),
        (FIRST_CALL, "a tool call"),
        (NO_RESULTS, "what a tool answered"),
    ],
)
def test_a_template_that_leaves_something_out_refuses_the_record(template: str, what: str) -> None:
    renderer = make_renderer(make_tokenizer(template), [1])
    found = tokenise(renderer, [record([*ASK, *CALLED], [TOOL])], 256, "drop")
    assert [(each.line, each.code) for each in found.problems] == [(4, "template_render_failed")]
    assert found.problems[0].message == f"The chat template leaves out {what}."
    assert found.unfit == {0: "tools_ignored"}


def test_a_call_in_an_answer_is_scored_or_refused() -> None:
    asked = record(ASK, [TOOL])
    asked.chosen = [Message(role="assistant", tool_calls=[CALL])]
    renderer = make_renderer(make_tokenizer(SHOWS_ALL), [1])
    (example,) = tokenise(renderer, [asked], 256, "drop").examples
    ((start, end),) = example.answers[0].spans
    assert renderer.tokenizer.decode(example.answers[0].ids[start:end]) == 'weather{"city": "paris"}<|end|>'
    blind = make_renderer(make_tokenizer(NO_CALLS), [1])
    assert [each.code for each in tokenise(blind, [asked], 256, "drop").problems] == ["template_render_failed"]


def test_records_without_tools_are_not_asked() -> None:
    renderer = make_renderer(make_tokenizer(CHAT_TEMPLATE), [1])
    assert len(tokenise(renderer, [record(ASK, None)], 256, "drop").examples) == 1
