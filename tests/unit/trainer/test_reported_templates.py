"""The inputs of people's reports about templates, from the uploaded file to what an inspection shows."""

from pathlib import Path

import pytest

from core.contract.errors import BadModel
from core.contract.finding import Finding
from core.contract.preview import Preview
from core.contract.run_spec import Inspection, InspectSpec
from preferences.check import check_file
from tests.conftest import ROOT
from tests.support import templates as t
from tests.support.templates import folder_of
from trainer.inspect import inspect

CASES = ROOT.parent / "shared" / "findings" / "cases"
CLOCK = "{{ 'It is ' + strftime_now('%d %b %Y %H:%M:%S') + '\n' }}" + t.SMOLLM2


def case(name: str, file: str = "pairs.jsonl") -> Path:
    path = CASES / name / file
    if not path.exists():
        pytest.skip(f"{name} is a reported input that the project does not carry; it is looked for in {CASES.name}")
    return path


def seen(path: Path, folder: Path, model: Path, **options: bool) -> Inspection:
    with (folder / "data.zst").open("wb") as out:
        report = check_file(path, canonical=out, checks="none", **options)  # type: ignore[arg-type]
    assert report.error is None
    return inspect(InspectSpec(model_dir=model, data=folder / "data.zst", out=folder / "out"))


def pairs_in(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(f'{{"prompt": "why {n}", "chosen": "so {n}", "rejected": "no {n}"}}\n' for n in range(12)))
    return path


def health(found: Inspection) -> Finding:
    return next(each for each in found.checks if each.code == "template_health")


def whole(shown: Preview, answer: int = 0) -> str:
    return shown.prompt.text + shown.answers[answer].text


def test_tool_args(tmp_path: Path) -> None:
    path = case("tool-args")
    found = seen(path, tmp_path, folder_of(tmp_path / "model", t.QWEN25, eos="<|im_end|>"))
    assert found.usable == 24
    said = [each.text for each in found.previews[0].answers]
    assert '{"name": "set_timer", "arguments": {"minutes": 3, "label": "eggs"}}' in said[0]
    assert '{"name": "set_timer", "arguments": {"minutes": 30, "label": "?"}}' in said[1]
    items = case("tool-args", "items.jinja").read_text()
    found = seen(path, tmp_path, folder_of(tmp_path / "items", items, eos="<|im_end|>"))
    assert found.usable == 24
    assert "<parameter=minutes>3</parameter>" in found.previews[0].answers[0].text


def test_system_dropped(tmp_path: Path) -> None:
    """Both places of an instruction, and a template that reads neither: refused before a job takes a GPU."""
    template = case("system-dropped", "phi3-first.jinja").read_text()
    model = folder_of(tmp_path / "model", template, eos="<|endoftext|>")
    found = seen(case("system-dropped"), tmp_path, model)
    assert found.fatal is not None
    assert "The chat template leaves out a system message." in found.fatal.message
    assert (found.fatal.param, found.fatal.line, health(found).severity) == ("training_file", 1, "block")
    assert health(found).detail["left_out"] == 24
    plain = seen(case("system-dropped"), tmp_path, folder_of(tmp_path / "chatml", t.SMOLLM2, eos="<|im_end|>"))
    assert "<|im_start|>system\nYou check data.<|im_end|>" in whole(plain.previews[0])


def test_end_token(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model", t.QWEN25, eos="<|endoftext|>")
    found = seen(case("end-token"), tmp_path, model)
    assert all(said.text.endswith("<|im_end|>") for each in found.previews for said in each.answers)
    assert health(found).severity == "warn"
    assert "'<|im_end|>'" in health(found).action
    assert "'<|endoftext|>'" in health(found).action


def test_reasoning_content(tmp_path: Path) -> None:
    found = seen(case("reasoning-content"), tmp_path, folder_of(tmp_path / "model", t.QWEN3, eos="<|im_end|>"))
    assert "<think>\nI think step by step.\n</think>\n\nA short" in found.previews[0].answers[0].text
    assert "<think>\nHm.\n</think>\n\nNo idea." in found.previews[0].answers[1].text
    plain = seen(case("end-token"), tmp_path, folder_of(tmp_path / "model", t.QWEN3, eos="<|im_end|>"))
    assert plain.previews[0].answers[0].text.startswith("A short")
    assert plain.previews[0].notes == [
        "No answer has reasoning: rendered with enable_thinking false; serve it likewise."
    ]


def test_preformatted(tmp_path: Path) -> None:
    path, model = case("preformatted-chatml"), folder_of(tmp_path / "model", t.SMOLLM2, eos="<|im_end|>")
    found = seen(path, tmp_path, model)
    assert found.fatal is not None
    assert "upload the file with --raw-text (`palate[raw_text]`)" in found.fatal.message
    assert seen(path, tmp_path, model, raw_text=True).usable == 24


def test_tool_role(tmp_path: Path) -> None:
    """A call that names no arguments."""
    found = seen(case("tool-role"), tmp_path, folder_of(tmp_path / "model", t.QWEN25, eos="<|im_end|>"))
    assert found.usable == 24
    assert '{"name": "lookup", "arguments": {}}' in found.previews[0].prompt.text
    assert "result 0" in found.previews[0].prompt.text


def test_a_clock(tmp_path: Path) -> None:
    found = seen(case("end-token"), tmp_path, folder_of(tmp_path / "model", CLOCK, eos="<|im_end|>"))
    assert (found.usable, health(found).severity) == (60, "warn")
    assert "tells the time" in health(found).action
    assert any("tells the time" in note for note in found.previews[0].notes)


def test_an_end_token_that_is_none_refuses_before_a_rank_starts(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model", t.SMOLLM2, eos="<|im_end|>")
    (model / "generation_config.json").write_text('{"eos_token_id": 2.0}')
    with pytest.raises(BadModel, match=r"holds 2\.0, which is no token"):
        seen(pairs_in(tmp_path), tmp_path, model)


def test_a_template_that_is_none_refuses_before_a_rank_starts(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model", "{% for m in messages %}", eos="<|im_end|>")
    found = seen(pairs_in(tmp_path), tmp_path, model)
    assert found.fatal is not None
    assert (found.fatal.code, found.fatal.param) == ("chat_template_invalid", "model")
