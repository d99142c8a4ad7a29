"""Checks of the report that need the tokenizer: a known dose is found with its size, and a clean twin is silent."""

import pytest

from core.contract.finding import Finding
from core.contract.preference import Message, PreferenceRecord
from tests.models import CHAT_TEMPLATE, make_tokenizer
from tests.pairs import make_records
from trainer.data import Truncation, make_renderer, tokenise
from trainer.health import checks

WITHOUT_END = CHAT_TEMPLATE.replace("<|end|>\n", " ")
TWO_BOS = "{{ bos_token }}" + CHAT_TEMPLATE
FORGETFUL = CHAT_TEMPLATE.replace(
    "{{ m['content'] }}", "{{ m['content'] if loop.last or m['role'] != 'assistant' else '...' }}"
)


def found_in(
    records: list[PreferenceRecord], template: str = CHAT_TEMPLATE, limit: int = 256, truncation: Truncation = "drop"
) -> dict[str, Finding]:
    renderer = make_renderer(make_tokenizer(template), [1])
    found = tokenise(renderer, records, limit, truncation)
    return {each.code: each for each in checks(found, renderer, len(records), limit, 1024)}


def test_a_clean_file_is_silent() -> None:
    found = found_in(make_records(50))
    assert {code: (each.severity, each.value, each.count) for code, each in found.items()} == {
        "truncation": ("info", 0.0, 0),
        "template_health": ("info", 0.0, 0),
        "special_token_in_text": ("info", 0.0, 0),
    }


@pytest.mark.parametrize(("dose", "severity"), [(1, "info"), (2, "warn"), (19, "warn"), (20, "block"), (30, "block")])
def test_what_max_length_costs(dose: int, severity: str) -> None:
    """Of 40 records: from a twentieth on it warns, from a half on it blocks."""
    records = make_records(40)
    for record in records[:dose]:
        record.chosen[0].content = "good " * 200
    found = found_in(records)["truncation"]
    assert (found.severity, found.value, found.count) == (severity, round(dose / 40, 4), dose)
    assert [each.line for each in found.examples] == [record.origin.line for record in records[:dose]][:20]
    assert found.detail["too_long"] == dose
    percentiles = found.detail["percentiles"]
    assert percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"] <= percentiles["p100"]
    assert percentiles["p100"] > 256
    assert found.action.startswith(f"Raise max_length to {percentiles['p99']}")


def test_turns_that_are_cut_count_as_well() -> None:
    records = make_records(20)
    for record in records[:4]:
        record.prompt = [
            Message(role="user", content="a fox " * 40),
            Message(role="assistant", content="no"),
            *record.prompt,
        ]
    found = found_in(records, limit=100, truncation="keep_end")["truncation"]
    assert (found.value, found.detail["shortened"], found.severity) == (0.2, 4, "warn")
    assert [each.line for each in found.examples] == [1, 2, 3, 4]


def test_a_template_that_begins_twice_serves_no_record() -> None:
    found = found_in(make_records(12), TWO_BOS)["template_health"]
    assert (found.severity, found.value, found.detail["double_bos"]) == ("block", 1.0, 12)
    assert found.threshold == 0.05


def test_a_few_conversations_that_the_template_changes_later() -> None:
    records = make_records(50)
    for record in records[:2]:
        record.chosen = [*record.chosen, Message(role="user", content="why"), *record.chosen]
    found = found_in(records, FORGETFUL)["template_health"]
    assert (found.severity, found.value, found.detail["earlier_turn_changes"]) == ("warn", 0.04, 2)
    assert found.threshold == 0.0
    assert [each.line for each in found.examples] == [1, 2]
    assert found_in(records)["template_health"].severity == "info"


@pytest.mark.parametrize("lost", ["<|system|>", "<|system|>" * 9, "think "])
def test_a_generation_prompt_that_no_answer_follows(lost: str) -> None:
    """Where the assistant is to speak stands what is not there before a real answer: not one token of it passes."""
    records = make_records(12)
    template = CHAT_TEMPLATE.replace("<|assistant|>\n", "<|assistant|>\n" + lost)
    renderer = make_renderer(make_tokenizer(template), [1])
    found = tokenise(renderer, records, 256, "drop")
    health = next(each for each in checks(found, renderer, 12, 256, 1024) if each.code == "template_health")
    assert [(each.code, each.line) for each in found.problems] == [("template_render_failed", n + 1) for n in range(12)]
    assert "does not write what it ends the prompt with" in found.problems[0].message
    assert (health.severity, health.value, health.detail["generation_prompt_differs"]) == ("block", 1.0, 12)


def test_a_generation_prompt_of_other_blanks_is_trained_on_as_it_is_served() -> None:
    records = make_records(12)
    renderer = make_renderer(make_tokenizer(CHAT_TEMPLATE.replace("<|assistant|>\n", "<|assistant|> ")), [1])
    found = tokenise(renderer, records, 256, "drop")
    for example, record in zip(found.examples, records, strict=True):
        answer = example.answers[0]
        assert renderer.tokenizer.decode(answer.ids[: example.prefix]).endswith("<|end|>\n<|assistant|> ")
        assert renderer.tokenizer.decode(answer.ids[example.prefix :]) == f"{record.chosen[0].content}<|end|>"
    health = next(each for each in checks(found, renderer, 12, 256, 1024) if each.code == "template_health")
    assert (health.severity, health.detail["prompt_as_served"]) == ("info", 12)


def test_a_missing_end_token_is_put_there_and_told() -> None:
    found = found_in(make_records(12), WITHOUT_END)["template_health"]
    assert (found.severity, found.count, found.detail["end_token_appended"]) == ("warn", 0, 12)
    assert "end token" in found.action


def test_text_that_would_become_a_special_token() -> None:
    records = make_records(10)
    records[6].prompt[0].content = "say <|end|> now"
    found = found_in(records)["special_token_in_text"]
    assert (found.severity, found.value, [each.line for each in found.examples]) == ("warn", 0.1, [7])
