"""In bf16: what is trained reaches the weights and the files, bit for bit the same after a resume."""

from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.run_spec import Lora, ResumeFrom, RunSpec, Settings
from tests.launch import Run, alone
from tests.trajectory.conftest import weights

pytestmark = pytest.mark.xdist_group("ranks")

STEPS = 6


@pytest.mark.parametrize("lora", [None, pytest.param(Lora(r=4), marks=pytest.mark.slow)])
def test_resumed_bit_for_bit_and_nothing_is_lost_by_rounding(spec: RunSpec, tmp_path: Path, lora: Lora | None) -> None:
    """At a rate so low that rounding to nearest would keep nearly nothing of it."""
    settings = Settings(
        batch_size=8, n_epochs=2, max_steps=STEPS, learning_rate=3e-6 if lora is None else 3e-4, lora=lora
    )
    settings = settings.model_copy(update={"precision": "bf16"})
    update = {"settings": settings, "resume_steps": 2, "probe_prompts": []}
    brief = spec.model_copy(update={**update, "workspace": tmp_path / "straight"})
    with alone():
        straight = Run(brief)
        assert straight.code() == 0, straight.logs()
        first = Run(brief.model_copy(update={"workspace": tmp_path / "first"}))
        first.wait_for("step", step=2)
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
        sealed = first.events("resume_point_sealed")[-1]
        assert 2 <= sealed["step"] < STEPS
        point = first.spec.workspace / sealed["path"]
        source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
        second = Run(brief.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
        assert second.code() == 0, second.logs()
    assert not second.events("warning")
    told = [event["metrics"]["loss"] for run in (first, second) for event in run.events("step")]
    assert told == [event["metrics"]["loss"] for event in straight.events("step")]
    assert weights(second.spec.workspace, STEPS) == weights(brief.workspace, STEPS)
    (kept,) = (
        event["metrics"]["palate/update_share"] for event in straight.events("checkpoint_sealed") if event["final"]
    )
    assert kept == pytest.approx(1, abs=0.1)
