"""Each family of templates with each kind of conversation: the model is trained on what it is served with, the user's
texts are all there, and what cannot be kept is refused by name."""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from tests.support import templates
from tests.support.rendering import (
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
from tests.support.templates import tokenizer_of
from trainer.data import make_renderer
from trainer.render import Renderer

CLOCK = datetime(2026, 2, 3, 23, 30, tzinfo=UTC)
# prompt, chosen, rejected, whether with tools
KINDS: dict[str, tuple[list[Json], list[Json], list[Json], bool]] = {
    "plain": ([ASK], [GOOD], [BAD], False),
    "system": ([SYSTEM, ASK], [GOOD], [BAD], False),
    "developer": ([DEVELOPER, ASK], [GOOD], [BAD], False),
    "turns": ([ASK, OLD, WHY], [GOOD], [BAD], False),
    "answers": ([ASK], [OLD, WHY, GOOD], [BAD], False),
    "call": ([ASK], [CALL], [BAD], True),
    "result": ([ASK, CALL, RESULT], [GOOD], [BAD], True),
    "reasoning": ([ASK], *REASONS, False),
    "earlier": ([ASK, {**OLD, "reasoning_content": "Long ago."}, WHY], [GOOD], [BAD], False),
}


class Family(NamedTuple):
    """`end`: what the template writes behind an answer; `call`: what is scored of a call, else the refusal of tools.

    `refused`: by kind, words of the reason. `kwargs`: what a server is to be told for answers without reasoning.
    `scored`: of "plain", where more than the answer and `end` is; `thought`: of "reasoning".
    """

    template: str
    eos: str
    end: str
    call: str = ""
    refused: Json = {}  # noqa: RUF012
    kwargs: Json = {}  # noqa: RUF012
    before: str = ""
    thought: str = ""


NO_TOOLS = {"call": "leaves out the tools", "result": "leaves out"}
NO_REASONING = {"reasoning": "leaves out the reasoning of an assistant message"}
HERMES = '<tool_call>\n{"name": "look_up", "arguments": {"city": "paris", "days": 3}}\n</tool_call><|im_end|>'
CODED = '<tool_call>\n{"name": "look_up", "arguments": city=paris;days=3;}\n</tool_call><|im_end|>'
QUIET: Json = {"enable_thinking": False}
THOUGHT = "<think>\nSo I think.\n</think>\n\nit was good<|im_end|>"
OPENED = dict.fromkeys(
    ("plain", "system", "developer", "turns", "call", "result", "earlier"), "ends the prompt with <think>"
)
LLAMA_CALL = '{"name": "look_up", "parameters": {"city": "paris", "days": 3}}<|eot_id|>'
T = templates
SHORT = hashlib.sha256(b"call_1").hexdigest()[:9]
FAMILIES = {
    "smollm2": Family(T.SMOLLM2, "<|im_end|>", "<|im_end|>", refused=NO_TOOLS | NO_REASONING),
    "qwen2.5": Family(T.QWEN25, "<|im_end|>", "<|im_end|>", HERMES, NO_REASONING),
    "qwen2.5 base": Family(T.QWEN25, "<|endoftext|>", "<|im_end|>", HERMES, NO_REASONING),
    "qwen3 coder": Family(T.CODER, "<|im_end|>", "<|im_end|>", CODED, NO_REASONING),
    "qwen3": Family(
        T.QWEN3, "<|im_end|>", "<|im_end|>", "\n" + HERMES, {"answers": "changes an earlier turn"}, QUIET, "", THOUGHT
    ),
    "qwen3 thinking": Family(
        T.QWEN3_THINKING,
        "<|im_end|>",
        "<|im_end|>",
        refused=OPENED | {"answers": "changes an earlier turn"},
        thought=THOUGHT.removeprefix("<think>\n"),
    ),
    "r1 distill": Family(
        T.R1_DISTILL,
        "<EOT>",
        "<EOT>",
        refused=OPENED | NO_TOOLS | {"answers": "changes an earlier turn"},
        thought="So I think.\n</think>\n\nit was good<EOT>",
    ),
    "llama 2": Family(
        T.LLAMA2, "</s>", " </s>", refused=NO_TOOLS | NO_REASONING | {"result": "Roles must alternate"}, before=" "
    ),
    "llama 3.1": Family(T.LLAMA31, "<|eot_id|>", "<|eot_id|>", LLAMA_CALL, NO_REASONING),
    "llama 3.2": Family(T.LLAMA32, "<|eot_id|>", "<|eot_id|>", LLAMA_CALL, NO_REASONING),
    "mistral": Family(
        T.MISTRAL,
        "</s>",
        "</s>",
        '[TOOL_CALLS][{"name": "look_up", "arguments": {"city": "paris", "days": 3}, "id": "' + SHORT + '"}]</s>',
        NO_REASONING,
    ),
    "gemma 2": Family(
        T.GEMMA2,
        "<eos>",
        "<end_of_turn>",
        refused=NO_TOOLS
        | NO_REASONING
        | {"result": "must alternate"}
        | dict.fromkeys(("system", "developer"), "System role not supported"),
    ),
    "gemma 3": Family(
        T.GEMMA3, "<eos>", "<end_of_turn>", refused=NO_TOOLS | NO_REASONING | {"result": "must alternate"}
    ),
    "phi 3, the first": Family(
        T.PHI3_FIRST,
        "<|endoftext|>",
        "<|end|>",
        refused=NO_TOOLS
        | NO_REASONING
        | {"system": "leaves out a system message", "developer": "leaves out a developer message"},
    ),
    "phi 3": Family(T.PHI3, "<|endoftext|>", "<|end|>", refused=NO_TOOLS | NO_REASONING),
    "phi 4": Family(T.PHI4, "<|im_end|>", "<|im_end|>", refused=NO_TOOLS | NO_REASONING),
    "harmony": Family(
        T.HARMONY,
        "<|return|>",
        "<|return|>",
        ' to=look_up<|channel|>commentary json<|message|>{"city": "paris", "days": 3}<|call|>',
        before="<|channel|>final<|message|>",
        thought="<|channel|>analysis<|message|>So I think.<|end|><|start|>assistant<|channel|>final<|message|>it was "
        "good<|return|>",
    ),
    "smollm3": Family(
        T.SMOLLM3,
        "<|im_end|>",
        "<|im_end|>",
        refused={"call": "leaves out a tool call", "result": "leaves out a tool call"},
        kwargs=QUIET,
        thought=THOUGHT,
    ),
    "deepseek": Family(
        T.DEEPSEEK,
        "<EOT>",
        "<EOT>",
        '\ncall look_up\n```json\n{"city": "paris", "days": 3}\n```<EOT>',
        NO_REASONING,
    ),
    "command": Family(T.COMMAND, "<EOP>", "<EOP>", 'Action: look_up{"city": "paris", "days": 3}<EOP>', NO_REASONING),
}


def renderer_of(family: Family) -> Renderer:
    tokenizer = tokenizer_of(family.template, eos=family.eos)
    return make_renderer(tokenizer, [tokenizer.eos_token_id], CLOCK)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, Family, Renderer]:
    found = FAMILIES[request.param]
    return request.param, found, renderer_of(found)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_family_makes_of_a_conversation(family: tuple[str, Family, Renderer], kind: str) -> None:
    name, facts, renderer = family
    prompt, chosen, rejected, tools = KINDS[kind]
    found = told(renderer, record(prompt, chosen, rejected, [TOOL] if tools else None))
    if kind in facts.refused:
        assert [(each.line, each.code) for each in found.problems] == [(7, "template_render_failed")]
        assert facts.refused[kind] in found.problems[0].message
        return
    assert found.problems == []
    (example,) = found.examples
    assert scored(renderer, example)[-1] == {
        "call": facts.call,
        "reasoning": facts.thought,
    }.get(kind, f"{facts.before}it was good{facts.end}")
    if kind == "answers":
        # GPT-OSS ends the last answer otherwise than those before it.
        own = [] if name == "harmony" else [f"{facts.before}never{facts.end}"]
        assert scored(renderer, example)[:-1] == own
        assert ("last_turn_only" in found.notes) == (name == "harmony")
    header = renderer.tokenizer.decode(example.answers[0].ids[: example.prefix])
    texts = [message["content"] for message in prompt if "content" in message]
    assert [text for text in texts if header.count(text) != 1] == []
    if tools:
        assert header.count("look_up") >= 1 + (kind == "result")
    assert ("earlier_reasoning_left_out" in found.notes) == (kind == "earlier")
    assert "Long ago" not in header


@pytest.mark.parametrize("said", ["n", "a", "e", "think", "final", "return", "assistant", ".", "/", "|", "1"])
def test_an_answer_that_stands_in_the_template_s_own_words_too(family: tuple[str, Family, Renderer], said: str) -> None:
    _, facts, renderer = family
    if "plain" in facts.refused:
        return
    answer = {"role": "assistant", "content": said}
    for prompt in ([ASK], [ASK, OLD, WHY]):
        found = told(renderer, record(prompt, [answer], [BAD]))
        assert found.problems == []
        assert scored(renderer, found.examples[0]) == [f"{facts.before}{said}{facts.end}"]
        assert found.notes.keys() == told(renderer, record(prompt, [GOOD], [BAD])).notes.keys()


@pytest.mark.parametrize("kind", ["plain", "system", "turns"])
def test_the_tokens_are_those_that_a_server_feeds_and_the_template_writes(
    family: tuple[str, Family, Renderer], kind: str
) -> None:
    """An independent writing of the rule: the header by transformers, and the answer up to with its end."""
    name, facts, renderer = family
    prompt, chosen, rejected, _ = KINDS[kind]
    if kind in facts.refused:
        return
    (example,) = told(renderer, record(prompt, chosen, rejected)).examples
    tokenizer = renderer.tokenizer

    def rendered(messages: list[Json], header: bool) -> str:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=header, **facts.kwargs)
        assert isinstance(text, str)
        return text

    header = rendered(prompt, True)
    for answer, said in zip(example.answers, (chosen, rejected), strict=True):
        whole = rendered([*prompt, *said], False)
        if name == "mistral" and kind == "system":  # without the instruction, once the user is not last
            assert not whole.startswith(header)
            rest = said[0]["content"] + "</s>"
        else:
            rest = whole[len(header) :]
            rest = rest[: rest.index(facts.end.strip()) + len(facts.end.strip())]
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (header, rest)]
        assert example.prefix == len(ids[0])
        assert list(answer.ids) == ids[0] + ids[1]
        assert answer.spans == ((len(ids[0]), len(answer.ids)),)
        assert list(answer.ids) == tokenizer(header + rest, add_special_tokens=False)["input_ids"]


def test_there_are_at_least_twelve_families() -> None:
    assert len({name.partition(",")[0] for name in FAMILIES}) >= 12
    assert {kind for family in FAMILIES.values() for kind in family.refused} <= set(KINDS)
