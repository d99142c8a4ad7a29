"""The trainer itself on one GPU: a run to its end with every gate on, resume bit for bit, a fork that may use CUDA."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec, Settings
from tests.gpu.device import DEVICE, needs_device
from tests.gpu.warm_runs import WarmRun, environment, trainer
from tests.launch import ROOT, Run
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records

pytestmark = [pytest.mark.gpu, needs_device, pytest.mark.filterwarnings("default")]

FORK = """
import os, sys
from trainer import warm
warm.preload()
assert not warm.condition()["cuda_initialized"], "CUDA was touched before the fork"
child = os.fork()
if child == 0:
    import torch
    found = float(torch.ones(3, device=sys.argv[1]).sum())
    os._exit(0 if found == 3.0 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def spec(folder: Path, **more: object) -> RunSpec:
    settings = Settings(learning_rate=1e-4, batch_size=8, n_epochs=2, precision="bf16", nll_weight=0.2)
    return RunSpec(
        run_id="gpu",
        workspace=folder / "run",
        model_dir=make_tiny_model(folder / "model"),
        model_digest="tiny",
        train_data=folder / "train.zst",
        train_digest=write_records(folder / "train.zst", make_records(38)),
        eval_data=folder / "held_out.zst",
        eval_digest=write_records(folder / "held_out.zst", make_records(7, seed=1)),
        seed=3,
        settings=settings,
        row_tokens=1024,
        shard_bytes=100_000,
    ).model_copy(update=more)


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[RunSpec], Run]]:
    """Runs as a node starts them: forks of one warm trainer."""
    known = environment()
    with trainer(tmp_path_factory.mktemp("node"), known) as path:
        yield lambda spec: WarmRun(path, spec, known)


def weights(run: Run, step: int) -> dict[str, str]:
    sealed = run.spec.workspace / "checkpoints" / f"step-{step}"
    return {entry.path: entry.sha256 for entry in manifest.read(sealed).files}


@pytest.mark.parametrize("layout", ["shared", "padded"])
def test_a_run_and_the_same_run_cut_in_two(tmp_path: Path, begin: Callable[[RunSpec], Run], layout: str) -> None:
    whole = begin(spec(tmp_path, layout=layout))
    assert whole.code() == 0, whole.logs()
    (started,) = whole.events("started")
    assert (started["details"]["device"], started["layout"]) == (DEVICE.type, layout)
    first = begin(whole.spec.model_copy(update={"workspace": tmp_path / "first"}))
    first.wait_for("step", step=2)
    (first.spec.workspace / "stop").write_text("drain")
    assert first.code() == 10, first.logs()
    point = first.spec.workspace / first.events("resume_point_sealed")[-1]["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    second = begin(whole.spec.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
    assert second.code() == 0, second.logs()
    told = [event["metrics"]["loss"] for run in (first, second) for event in run.events("step")]
    assert told == [event["metrics"]["loss"] for event in whole.events("step")]
    assert weights(second, 10) == weights(whole, 10)


def test_a_fork_of_the_warm_launcher_may_use_the_device() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, DEVICE.type],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
