"""The trainer itself on one GPU: a run to its end with every gate on, resume bit for bit, forks of the warm trainer."""

from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec, Settings
from tests.gpu import parents
from tests.gpu.device import DEVICE, needs_device
from tests.launch import Run
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from trainer import warm as trainer

pytestmark = [pytest.mark.gpu, needs_device, pytest.mark.filterwarnings("default")]

# The warm trainer, but for what a rank does.
RANKS_ADD = """
import json, sys
from trainer import rank, warm

def live(spec):
    import torch
    import torch.distributed as dist
    from trainer import world
    device = world.join().device
    ones = torch.ones(3, device=device)
    dist.all_reduce(ones)
    print(json.dumps([device.type, dist.get_backend(), float(ones.sum())]), flush=True)
    world.leave()
    return 0

rank.live = live
sys.exit(warm.main(sys.argv[1:]))
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


def weights(spec: RunSpec, step: int) -> dict[str, str]:
    sealed = spec.workspace / "checkpoints" / f"step-{step}"
    return {entry.path: entry.sha256 for entry in manifest.read(sealed).files}


@pytest.mark.parametrize("layout", ["shared", "padded"])
def test_a_run_and_the_same_run_cut_in_two(tmp_path: Path, layout: str) -> None:
    whole = Run(spec(tmp_path, layout=layout))
    assert whole.code() == 0, whole.logs()
    (started,) = whole.events("started")
    assert (started["details"]["device"], started["layout"]) == (DEVICE.type, layout)
    first = Run(whole.spec.model_copy(update={"workspace": tmp_path / "first"}))
    first.wait_for("step", step=2)
    (first.spec.workspace / "stop").write_text("drain")
    assert first.code() == 10, first.logs()
    point = first.spec.workspace / first.events("resume_point_sealed")[-1]["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    second = Run(whole.spec.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
    assert second.code() == 0, second.logs()
    told = [event["metrics"]["loss"] for run in (first, second) for event in run.events("step")]
    assert told == [event["metrics"]["loss"] for event in whole.events("step")]
    assert weights(second.spec, 10) == weights(whole.spec, 10)


def test_a_fork_of_the_warm_trainer_computes_and_adds_over_ranks(tmp_path: Path) -> None:
    """In a world of one: NCCL asks NVML about the node all the same."""
    known = parents.environment()
    with parents.serving(tmp_path / "warm", known, "-c", RANKS_ADD) as parent:
        for number in range(2):
            (tmp_path / "run.json").touch()
            code, printed = parent.run(tmp_path / "run.json", known)
            assert code == 0, printed
            backend = "nccl" if DEVICE.type == "cuda" else "gloo"
            assert parents.told(printed) == [DEVICE.type, backend, 3.0], number
        assert trainer.unfit(parent.status()) is None


def test_a_run_of_the_warm_trainer_has_the_bits_of_a_cold_one(tmp_path: Path) -> None:
    cold = Run(spec(tmp_path))
    assert cold.code() == 0, cold.logs()
    own = cold.spec.model_copy(update={"workspace": tmp_path / "forked"})
    own.workspace.mkdir()
    (own.workspace / "run.json").write_text(own.model_dump_json())
    known = parents.environment()
    with parents.serving(tmp_path / "warm", known) as parent:
        code, printed = parent.run(own.workspace / "run.json", known)
    log = own.workspace / "logs" / "rank-0.log"
    assert code == 0, printed + (log.read_text() if log.exists() else "")
    assert weights(own, 10) == weights(cold.spec, 10)
