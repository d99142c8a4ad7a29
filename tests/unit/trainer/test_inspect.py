import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.contract.preference import Message
from core.contract.run_spec import Inspection, InspectSpec
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from trainer import folder, records
from trainer.data import make_renderer, tokenise
from trainer.inspect import inspect
from trainer.layouts import collate, fed
from trainer.lengths import histogram


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_the_program(tiny: Path, tmp_path: Path) -> None:
    """Its file, its exit code, and that it never imports deepspeed."""
    made = make_records(30)
    made[4].chosen = [Message(role="assistant", content="good " * 400)]
    write_records(tmp_path / "data.zst", made)
    spec = tmp_path / "inspect.json"
    wanted = {"v": 1, "model_dir": str(tiny), "data": str(tmp_path / "data.zst"), "out": str(tmp_path / "out.json")}
    spec.write_text(json.dumps(wanted))
    program = (
        "import sys, runpy; sys.argv = ['trainer', 'inspect', '--spec', sys.argv[1]]; import os; code = os._exit\n"
        "os._exit = lambda status: code(status or (9 if 'deepspeed' in sys.modules else 0))\n"
        "runpy.run_module('trainer', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(spec)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = Inspection.model_validate_json((tmp_path / "out.json").read_bytes())
    assert (found.records, found.usable, found.max_length, found.context_length) == (30, 29, 256, 256)
    assert found.problem_counts == {"too_long": 1}
    assert found.problems[0].line == 5
    assert sum(count for _, count in found.histogram) == 29
    assert len(found.previews) == 20
    assert [each.code for each in found.checks] == ["truncation", "template_health", "special_token_in_text"]
    assert found.checks[0].count == 1
    long = next(each for each in found.previews if each.problem == "too_long")
    assert long.line == 5
    assert found.lengths["pair"].median <= found.lengths["pair"].p95 <= found.lengths["pair"].max
    assert found.fatal is None


def test_previews_of_an_older_inspection_are_none() -> None:
    kept = {"records": 1, "usable": 1, "max_length": 8, "context_length": 8, "previews": [{"line": 1, "prompt": "a"}]}
    assert Inspection.model_validate(kept).previews == []


def test_fatal(tiny: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "data.zst", make_records(3))
    spec = InspectSpec(model_dir=tiny, data=tmp_path / "data.zst", out=tmp_path / "out", max_length=16)
    found = inspect(spec)
    assert found.fatal is not None
    assert (found.fatal.code, found.fatal.param, found.usable) == ("too_long", "training_file", 0)
    found = inspect(spec.model_copy(update={"max_length": 30, "truncation": "error"}))
    assert found.fatal is not None
    assert found.fatal.line is not None
    found = inspect(spec.model_copy(update={"max_length": 512}))
    assert found.fatal is not None
    assert found.fatal.param == "max_length"


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    write_records(tmp_path / "data.zst", make_records(3))
    make_tiny_model(tmp_path / "plain", template=None)
    found = inspect(InspectSpec(model_dir=tmp_path / "plain", data=tmp_path / "data.zst", out=tmp_path / "out"))
    assert found.fatal is not None
    assert (found.fatal.code, found.fatal.param) == ("no_chat_template", "model")


def test_histogram() -> None:
    assert histogram([1, 7, 7, 100, 101, 104]) == [(1, 1), (7, 2), (104, 3)]


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    """It knows tokens beyond the model's table: found before a weight is loaded, with the line that shows it."""
    model = make_tiny_model(tmp_path / "tiny")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    write_records(tmp_path / "data.zst", make_records(3))
    found = inspect(InspectSpec(model_dir=model, data=tmp_path / "data.zst", out=tmp_path / "out"))
    assert found.fatal is not None
    assert (found.fatal.code, found.fatal.param, found.fatal.line) == ("tokenizer_mismatch", "model", 1)
    assert "100 tokens" in found.fatal.message


def test_what_each_layout_feeds_is_what_it_collates(tiny: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "data.zst", make_records(5))
    found = inspect(InspectSpec(model_dir=tiny, data=tmp_path / "data.zst", out=tmp_path / "out"))
    renderer = make_renderer(folder.load_tokenizer(tiny), folder.end_tokens(tiny))
    examples = tokenise(renderer, records.read(tmp_path / "data.zst"), 256, "drop").examples
    for layout in ("shared", "packed"):
        assert found.fed[layout].tokens == sum(fed(example, layout) for example in examples)
        assert found.fed[layout].largest == max(fed(example, layout) for example in examples)
        assert found.fed[layout].tokens == collate(examples, layout, torch.device("cpu")).tokens
    assert found.scored_tokens == len(collate(examples, "packed", torch.device("cpu")).targets)
    assert found.answers == 10
