"""Runs that do not come to their end: told in one event and one exit code. A single rank each, without a launcher."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec
from tests.launch import ROOT, Run, alone
from tests.models import make_tiny_model

pytestmark = pytest.mark.xdist_group("ranks")


def ended(spec: RunSpec) -> tuple[int, dict[str, Any]]:
    """A world of one, without a launcher: exit code and last word."""
    spec.workspace.mkdir(exist_ok=True)
    path = spec.workspace / "run.json"
    path.write_text(spec.model_dump_json())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with alone():
        done = subprocess.run(
            [sys.executable, "-m", "trainer", "--spec", str(path)], cwd=ROOT, env=environment, check=False, timeout=120
        )
    last = json.loads((spec.workspace / "events.jsonl").read_text().splitlines()[-1])
    assert int((spec.workspace / "ranks" / "0.exit").read_text()) == done.returncode
    return done.returncode, last


def refused(spec: RunSpec) -> tuple[int, str, str]:
    """(exit code, code, message) of a run that fails."""
    code, last = ended(spec)
    assert last["event"] == "failed"
    assert "Traceback" not in last["message"]
    return code, last["code"], last["message"]


def test_a_model_with_nan(spec: RunSpec, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_tiny_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][5, 5] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, name, message = refused(
        spec.model_copy(update={"workspace": tmp_path / "run", "model_dir": folder, "world_size": 1})
    )
    assert (code, name) == (66, "non_finite_weights")
    assert "model.embed_tokens.weight" in message


def test_a_compiler_that_fails_on_one_rank_ends_all(spec: RunSpec, tmp_path: Path) -> None:
    """In seconds: none waits for the other in a collective."""
    with alone():
        run = Run(spec.model_copy(update={"workspace": tmp_path}), program=("-m", "tests.compiles_on_one_rank"))
        assert run.process.wait(60) == 1, run.logs()
    (last,) = run.events("failed")
    assert last["code"] == "not_compiled"
    assert {path.read_text() for path in (tmp_path / "ranks").glob("*.exit")} == {"75"}
    assert run.events("phase") == [], "before the model, the data or a step"


def test_a_record_too_long_under_error(spec: RunSpec, tmp_path: Path) -> None:
    settings = spec.settings.model_copy(update={"max_length": 40, "truncation": "error"})
    update = {"workspace": tmp_path / "run", "settings": settings, "world_size": 1}
    assert refused(spec.model_copy(update=update))[:2] == (65, "too_long")


def test_a_resume_point_of_another_run_or_damaged(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """Both are refused before anything is unpickled."""
    point = tmp_path / "point"
    (point / "state").mkdir(parents=True)
    (point / "state" / "shard.pt").write_bytes(b"a pickle")
    two = manifest.build(point, seed=2)
    manifest.write(point, two)
    source = ResumeFrom(path=point, manifest_digest=two.digest())
    update = {"world_size": 1, "resume_from": source}
    found = refused(spec.model_copy(update={**update, "workspace": tmp_path / "run"}))
    assert found[:2] == (64, "resume_mismatch")
    source = ResumeFrom(path=point, manifest_digest="0" * 64)
    found = refused(spec.model_copy(update={**update, "workspace": tmp_path / "other", "resume_from": source}))
    assert found[:2] == (75, "manifest_mismatch")


@pytest.fixture(scope="module")
def point(spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Path]:
    """A run of two steps on one rank, and the resume point behind its first."""
    settings = spec.settings.model_copy(update={"max_steps": 2})
    workspace = tmp_path_factory.mktemp("point")
    update = {"workspace": workspace, "settings": settings, "world_size": 1, "resume_steps": 1, "probe_prompts": []}
    short = spec.model_copy(update=update)
    assert ended(short)[0] == 0
    return short, workspace / "resume" / "step-1"


def resumed(run: RunSpec, source: Path, workspace: Path) -> tuple[int, str, str]:
    resume_from = ResumeFrom(path=source, manifest_digest=manifest.read(source).digest())
    return refused(run.model_copy(update={"workspace": workspace, "resume_from": resume_from}))


def test_a_resume_point_with_one_flipped_byte(point: tuple[RunSpec, Path], tmp_path: Path) -> None:
    """The manifest is the right one; a shard is not: nothing of it is unpickled."""
    run, sealed = point
    source = Path(shutil.copytree(sealed, tmp_path / "point"))
    shard = max((source / "state").rglob("*.pt"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    code, name, message = resumed(run, source, tmp_path / "run")
    assert (code, name) == (75, "manifest_mismatch")
    assert shard.name in message


def test_a_policy_that_is_not_the_reference_before_the_first_step(point: tuple[RunSpec, Path], tmp_path: Path) -> None:
    """The gate: weights of step 1 that are said to be those of step 0."""
    run, sealed = point
    source = Path(shutil.copytree(sealed, tmp_path / "point"))
    found = manifest.read(source)
    meta = {**found.meta, "progress": {**found.meta["progress"], "step": 0}}
    manifest.write(source, found.model_copy(update={"meta": meta}))
    code, name, message = resumed(run, source, tmp_path / "run")
    assert (code, name) == (73, "gate_failed")
    assert "stored reference" in message


def test_a_template_that_refuses_a_probe_prompt(spec: RunSpec, tmp_path: Path) -> None:
    update = {"workspace": tmp_path / "run", "world_size": 1, "probe_prompts": ["why", "say <|end|> now"]}
    code, last = ended(spec.model_copy(update=update))
    assert (code, last["code"], last["param"]) == (66, "special_token_in_text", "palate.probe_prompts.1")


def test_a_run_that_diverges_stops_before_the_update(spec: RunSpec, tmp_path: Path) -> None:
    settings = spec.settings.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 0.0})
    update = {"workspace": tmp_path / "run", "settings": settings, "world_size": 1}
    code, last = ended(spec.model_copy(update=update))
    assert (code, last["event"], last["code"], last["step"]) == (71, "failed", "diverged", 2)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == []


def test_a_cancelled_run(spec: RunSpec, tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("cancel\n")
    code, last = ended(spec.model_copy(update={"workspace": tmp_path, "world_size": 1}))
    assert (code, last["event"], last["reason"]) == (11, "stopped", "cancel")
