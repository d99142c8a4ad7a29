"""What becomes of the trainer's answers and failures, by a program that stands in for it where it would not fail."""

import sys
from pathlib import Path

import pytest

from cli import trainer_process
from core.contract.errors import BadModel, PalateError


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of Python that runs in the trainer's place, as an interpreter named `python` would run it."""
    program = tmp_path / "program.py"
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    return program


def test_its_answer_is_its_last_line(said: Path, tmp_path: Path) -> None:
    said.write_text("import os\nprint('noise')\nprint('{\"linear\": [], \"experts\": 3}')")
    assert trainer_process.check(tmp_path, tmp_path).experts == 3


def test_no_secret_of_the_service_reaches_it(said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    said.write_text(
        "import json, os, sys\nprint(json.dumps([sorted(os.environ), os.environ['HF_HUB_OFFLINE'], sys.argv[1:]]))"
    )
    names, offline, arguments = trainer_process.ask(tmp_path, "gguf", "a", "b")
    assert "DATABASE_URL" not in names
    assert offline == "1"
    assert arguments == ["-P", "-m", "trainer", "gguf", "a", "b"]


def test_nothing_of_the_folder_that_one_stands_in_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.py", "trainer.py", "transformers.py"):
        (tmp_path / name).write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    assert trainer_process.check(tmp_path / "no model", tmp_path).faults
    assert not (tmp_path / "ran").exists()


def test_what_it_refuses_is_refused_with_its_code(said: Path, tmp_path: Path) -> None:
    said.write_text("import sys\nprint('noise\\ngguf_damaged: It is cut: short.', file=sys.stderr)\nsys.exit(66)")
    with pytest.raises(BadModel) as refusal:
        trainer_process.ask(tmp_path, "gguf")
    assert (refusal.value.code, refusal.value.message) == ("gguf_damaged", "It is cut: short.")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import no_torch_here", "one is missing here (No module named 'no_torch_here')"),
        ("import os\nos.kill(os.getpid(), 9)", "the system ended it (signal 9), mostly for want of memory"),
        (
            "import sys\nprint('no_space: The disk is full.', file=sys.stderr)\nsys.exit(75)",
            "failed: The disk is full.",
        ),
    ],
)
def test_its_own_failures_are_one_sentence(said: Path, tmp_path: Path, program: str, words: str) -> None:
    said.write_text(program)
    with pytest.raises(PalateError) as failure:
        trainer_process.ask(tmp_path, "merge")
    assert words in failure.value.message
    assert "\n" not in failure.value.message
