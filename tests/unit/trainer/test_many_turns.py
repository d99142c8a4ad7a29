"""What one record may cost: its time grows with its turns, not with their square, and its memory has an end."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.contract.run_spec import InspectSpec
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from tests.support import templates as t
from tests.support.rendering import ASK, BAD, GOOD, OLD, WHY, Json, reason, record, renderer, told
from trainer import template
from trainer.data import tokenise
from trainer.manner import shorten
from trainer.render import Renderer
from trainer.unfit import MOST_TURNS
from worker import inspect

TURNS = 4_001


def turns(count: int) -> list[Json]:
    return [GOOD if number % 2 == 0 else WHY for number in range(count)]


def seconds(own: Renderer, one: Any, truncation: Any, limit: int = 512) -> tuple[Any, float]:
    began = time.process_time()
    found = tokenise(own, [one], limit, truncation)
    return found, time.process_time() - began


def test_an_answer_of_thousands_of_turns_is_told_by_its_line() -> None:
    own = renderer(t.SMOLLM2)
    found, took = seconds(own, record([ASK], turns(TURNS), [BAD]), "drop")
    (problem,) = found.problems
    assert (problem.line, problem.code) == (7, "too_many_turns")
    assert "4,001 messages; at most 256" in problem.message
    assert "cut the dialogue" in problem.message
    assert took < 5


def test_the_most_turns_are_trained_on() -> None:
    own = renderer(t.SMOLLM2)
    most = turns(MOST_TURNS - 1)
    (example,) = told(own, record([ASK], most, [BAD])).examples
    assert len(example.answers[0].spans) == MOST_TURNS // 2
    assert "at most" in reason(own, record([ASK], turns(MOST_TURNS + 1), [BAD]))


@pytest.mark.parametrize("template", [t.SMOLLM2, t.SMOLLM2.replace("'user'", "'never'")])
@pytest.mark.parametrize("truncation", ["drop", "keep_end"])
def test_a_prompt_of_thousands_of_turns(template: str, truncation: str) -> None:
    """Nor is there a rendering for each turn that is left out of it."""
    own = renderer(template)
    found, took = seconds(own, record([ASK, *turns(TURNS - 1), WHY], [GOOD], [BAD]), truncation)
    assert took < 5
    assert len(found.examples) == (truncation == "keep_end")


def test_calls_and_their_results_are_paired_in_one_walk() -> None:
    calls = [
        {"id": f"call {n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(20_000)
    ]
    results = [{"role": "tool", "content": "x", "tool_call_id": each["id"]} for each in calls]
    turns_of: list[Json] = [{"role": "assistant", "tool_calls": [dict(each) for each in calls]}, *results]
    began = time.process_time()
    shorten(turns_of)
    assert time.process_time() - began < 2
    assert turns_of[5]["tool_call_id"] == turns_of[0]["tool_calls"][4]["id"]


@pytest.mark.parametrize("words", [8, 9, 10, 40])
@pytest.mark.parametrize("limit", range(24, 400, 23))
def test_what_is_kept_of_a_prompt_is_the_most_that_fits(words: int, limit: int) -> None:
    """Turn by turn from the oldest on, as it was found before."""
    own = renderer(t.SMOLLM2)
    prompt: list[Json] = [{"role": "system", "content": "Be brief."}]
    for n in range(words):
        prompt += [{"role": "user", "content": "why then " * (n % 5 + 1)}, OLD]
    one = record([*prompt, WHY], [GOOD], [BAD])
    lengths = []
    for start in [0, *range(3, len(one.prompt), 2)]:
        left = one.prompt if start == 0 else [one.prompt[0], *one.prompt[start:]]
        lengths.append(own.render(one, left, [one.chosen, one.rejected]))
    wanted = next((each for each in lengths if each.longest <= limit), None)
    found = tokenise(own, [one], limit, "keep_end")
    if wanted is None:
        assert [each.code for each in found.problems] == ["prompt_fills_context"]
        assert f"have {lengths[-1].longest} tokens" in found.problems[0].message
    else:
        assert found.examples[0].answers == wanted.answers


BOMBS = ["{{ 'a' * 10**9 }}", "{{ 'a'.center(10**9) }}", "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}"]


@pytest.mark.parametrize("bomb", [BOMBS[0], *(pytest.param(bomb, marks=pytest.mark.slow) for bomb in BOMBS[1:])])
def test_a_template_that_writes_gigabytes_takes_no_more_than_the_inspection_has(tmp_path: Path, bomb: str) -> None:
    model = make_tiny_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text(bomb)
    write_records(tmp_path / "train.zst", make_records(2))
    spec = InspectSpec(
        model_dir=model, data=tmp_path / "train.zst", max_length=64, truncation="drop", out=tmp_path / "out.json",
        memory_bytes=900 << 20,
    )  # fmt: skip
    result = inspect.look(tmp_path, written(spec, tmp_path), spec, lambda: None)
    assert result.fatal is not None
    assert "memory" in result.fatal.message
    assert not result.usable


def test_a_rendering_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "LONGEST", 1000)
    assert "shorten the record" in reason(renderer("{{ 'a' * 1001 }}"), record([ASK], [GOOD], [BAD]))


@pytest.mark.parametrize("says", ["no_memory: The node has no memory left.", "memory allocation of 12345 bytes failed"])
def test_memory_that_is_over_is_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """A tokenizer without memory ends its process: played by one that says so and aborts."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{says}' >&2\nkill -ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    spec = InspectSpec(model_dir=tmp_path, data=tmp_path, out=tmp_path / "out.json", memory_bytes=1 << 30)
    result = inspect.look(tmp_path, tmp_path / "spec.json", spec, lambda: None)
    assert result.fatal is not None
    assert (result.fatal.code, result.fatal.param) == ("inspection_out_of_memory", "training_file")
    assert "1,024 MiB" in result.fatal.message


def written(spec: InspectSpec, folder: Path) -> Path:
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    return path
