"""`python -m trainer inspect` as a program: quick because it never imports torch."""

import json
import subprocess
import sys
from pathlib import Path

from core.contract.run_spec import InspectSpec
from tests.conftest import ROOT
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records


def run(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "importtime", "-m", "trainer", "inspect", "--spec", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_tokenizer_is_enough(tmp_path: Path) -> None:
    write_records(tmp_path / "train.zst", make_records(5))
    spec = InspectSpec(
        model_dir=make_tiny_model(tmp_path / "model"),
        data=tmp_path / "train.zst",
        max_length=64,
        truncation="drop",
        out=tmp_path / "out.json",
    )
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    done = run(tmp_path / "spec.json")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(spec.out.read_text())["records"] == 5
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "transformers" in imported
    assert not {name for name in imported if name.split(".")[0] in ("torch", "deepspeed", "accelerate")}


def test_a_spec_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    done = run(tmp_path / "spec.json")
    assert done.returncode == 64
    assert done.stderr.splitlines()[-1].startswith("bad_spec: spec.json is not a valid spec: model_dir: Field required")
