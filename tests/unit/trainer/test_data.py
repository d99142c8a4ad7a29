from collections.abc import Sequence

import pytest

from core.contract.preference import Message, Origin, PreferenceRecord
from tests.models import make_tokenizer
from trainer.data import make_renderer, tokenise
from trainer.render import Answer, Renderer

WITH_BOS = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
WITHOUT_BOS = WITH_BOS.removeprefix("{{ bos_token }}")
WITHOUT_END = "{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }}{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
TWO_BOS = "{{ bos_token }}" + WITH_BOS
FORGETFUL = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{{ m['content'] if loop.last or m['role'] != 'assistant' else '...' }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
DEAF = "{% for m in messages %}<|{{ m['role'] }}|>\n{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" + WITH_BOS


def renderer(template: str) -> Renderer:
    return make_renderer(make_tokenizer(template), [1])


def talk(*turns: tuple[str, str]) -> list[Message]:
    return [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]


def record(prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]) -> PreferenceRecord:
    return PreferenceRecord(
        id="a", prompt=list(prompt), chosen=list(chosen), rejected=list(rejected), origin=Origin(line=7, format="t")
    )


ASK = talk(("user", "what is the capital of france"))
YES, NO = talk(("assistant", "it was wonderful")), talk(("assistant", "boring"))


def scored(rendered: Renderer, answer: Answer) -> list[str]:
    return [rendered.tokenizer.decode(answer.ids[start:end]) for start, end in answer.spans]


@pytest.mark.parametrize("template", [WITH_BOS, WITHOUT_BOS])
def test_the_answer_and_its_end_token_are_scored(template: str) -> None:
    found = renderer(template)
    (pair,) = tokenise(found, [record(ASK, YES, NO)], 256, "drop").examples
    assert scored(found, pair.answers[0]) == ["it was wonderful<|end|>"]
    assert scored(found, pair.answers[1]) == ["boring<|end|>"]
    assert pair.answers[0].ids.count(0) == (template == WITH_BOS)
    assert pair.answers[0].ids[-1] == 1, "nothing is kept behind the last end token"
    assert found.tokenizer.decode(pair.answers[0].ids[: pair.prefix]).endswith("<|end|>\n<|assistant|>\n")
    assert pair.line == 7


def test_where_the_template_emits_no_end_token_one_is_appended() -> None:
    found = renderer(WITHOUT_END)
    (pair,) = tokenise(found, [record(ASK, YES, NO)], 256, "drop").examples
    assert pair.answers[0].ids.count(1) == pair.answers[1].ids.count(1) == 1
    # The header's last space would be the first letter of the answer's first token; a server feeds it alone.
    assert scored(found, pair.answers[0]) == ["it was wonderful<|end|>"]
    assert found.tokenizer.decode(pair.answers[0].ids[: pair.prefix]).endswith("<|assistant|> ")


def test_of_several_turns_only_the_assistants_are_scored() -> None:
    found = renderer(WITH_BOS)
    chosen = talk(("assistant", "yes"), ("user", "why"), ("assistant", "because"))
    (pair,) = tokenise(found, [record(ASK, chosen, NO)], 256, "drop").examples
    assert scored(found, pair.answers[0]) == ["yes<|end|>", "because<|end|>"]


def test_an_answer_that_looks_like_the_templates_own_words() -> None:
    found = renderer(WITH_BOS)
    (pair,) = tokenise(found, [record(ASK, talk(("assistant", "end")), talk(("assistant", "n")))], 256, "drop").examples
    assert scored(found, pair.answers[0]) == ["end<|end|>"]
    assert scored(found, pair.answers[1]) == ["n<|end|>"]


@pytest.mark.parametrize(
    ("template", "prompt", "chosen", "code"),
    [
        (WITH_BOS, talk(("user", "say <|end|> now")), YES, "special_token_in_text"),
        (WITH_BOS, ASK, NO, "identical_after_truncation"),
        (TWO_BOS, ASK, YES, "template_render_failed"),
        (DEAF, ASK, YES, "template_render_failed"),
        (STRICT, talk(("system", "be brief"), ("user", "hi")), YES, "template_render_failed"),
        (FORGETFUL, ASK, talk(("assistant", "yes"), ("user", "why"), ("assistant", "so")), "template_render_failed"),
        (WITH_BOS, ASK, talk(("assistant", "good " * 300)), "too_long"),
    ],
)
def test_what_falls_out_says_why(template: str, prompt: list[Message], chosen: list[Message], code: str) -> None:
    found = tokenise(renderer(template), [record(prompt, chosen, NO)], 256, "drop")
    assert [(problem.line, problem.code) for problem in found.problems] == [(7, code)]
    assert not found.examples


def test_answers_on_both_sides_of_a_rope_boundary_are_not_compared() -> None:
    long = talk(("assistant", "it was wonderful " * 9))
    found = tokenise(renderer(WITH_BOS), [record(ASK, long, NO)], 256, "drop")
    (pair,) = found.examples
    chosen, rejected = (len(answer.ids) for answer in pair.answers)
    for boundary, codes in (
        (rejected - 1, []),
        (rejected, ["crosses_rope_boundary"]),
        (chosen - 1, ["crosses_rope_boundary"]),
        (chosen, []),
    ):
        found = tokenise(renderer(WITH_BOS), [record(ASK, long, NO)], 256, "drop", boundary=boundary)
        assert [problem.code for problem in found.problems] == codes, boundary
        assert len(found.examples) == 1 - len(codes)


def test_keep_end_drops_whole_oldest_turns_but_no_system_message() -> None:
    found = renderer(WITH_BOS)
    prompt = talk(("system", "be brief"), ("user", "a fox " * 20), ("assistant", "no " * 20), ("user", "the last"))
    (pair,) = tokenise(found, [record(prompt, YES, NO)], 60, "keep_end").examples
    text = found.tokenizer.decode(pair.answers[0].ids)
    assert text.startswith("<s><|system|>\nbe brief<|end|>\n<|user|>\nthe last<|end|>")
    assert "fox" not in text
    assert "no no" not in text
    nothing_left = tokenise(found, [record(prompt, talk(("assistant", "good " * 60)), NO)], 60, "keep_end")
    assert [problem.code for problem in nothing_left.problems] == ["prompt_fills_context"]
