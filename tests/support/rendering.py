"""Messages of each kind, records of them, and what becomes of one record in a template."""

from typing import Any

from core.contract.finding import Finding
from core.contract.preference import Message, Origin, PreferenceRecord
from tests.support import templates as t
from tests.support.templates import tokenizer_of
from trainer.data import Example, Tokenised, make_renderer, tokenise
from trainer.health import checks
from trainer.render import Renderer

Json = dict[str, Any]
ASK, WHY = {"role": "user", "content": "what is it"}, {"role": "user", "content": "why then"}
GOOD, BAD = {"role": "assistant", "content": "it was good"}, {"role": "assistant", "content": "bad"}
OLD = {"role": "assistant", "content": "never"}
SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": "Be kind."}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
# OpenAI's own layout: the arguments are a text.
FUNCTION = {"name": "look_up", "arguments": '{"city": "paris", "days": 3}'}
CALL = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": FUNCTION}]}
RESULT = {"role": "tool", "content": "cold rain", "tool_call_id": "call_1"}
REASONS = [{**GOOD, "reasoning_content": "So I think."}], [{**BAD, "reasoning_content": "Hm."}]

MARKED = t.SMOLLM2.replace(
    "{% if add", "{% if messages[0].name is defined %}{{ messages[0].name }}{% endif %}{% if add"
)


def record(
    prompt: list[Json], chosen: list[Json], rejected: list[Json], tools: list[Json] | None = None, **more: Any
) -> PreferenceRecord:
    turns = [[Message(**each) for each in part] for part in (prompt, chosen, rejected)]
    origin = Origin(line=7, format="test")
    return PreferenceRecord(
        id="a", prompt=turns[0], chosen=turns[1], rejected=turns[2], tools=tools, origin=origin, **more
    )


def scored(renderer: Renderer, example: Example, answer: int = 0) -> list[str]:
    found = example.answers[answer]
    return [renderer.tokenizer.decode(found.ids[start:end]) for start, end in found.spans]


def told(renderer: Renderer, one: PreferenceRecord) -> Tokenised:
    return tokenise(renderer, [one], 4096, "drop")


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
