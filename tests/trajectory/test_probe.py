"""A run finds out by itself which rows its model can be trained in."""

from pathlib import Path

import pytest

from core.contract.run_spec import RunSpec
from tests.launch import Run, alone
from tests.models import make_tiny_hybrid, make_tiny_mamba

pytestmark = pytest.mark.xdist_group("ranks")


def test_a_hybrid_model_is_trained_padded(spec: RunSpec, tmp_path: Path) -> None:
    """Packed rows raise nothing in it, they are wrong; what was tried leaves the training as it is without a probe."""
    settings = spec.settings.model_copy(update={"n_epochs": 1})
    common = {"model_dir": make_tiny_hybrid(tmp_path / "hybrid"), "settings": settings, "probe_prompts": []}
    runs = []
    with alone():
        for layout in ("auto", "padded"):
            runs.append(Run(spec.model_copy(update={**common, "workspace": tmp_path / layout, "layout": layout})))
            assert runs[-1].code() == 0, runs[-1].logs()
    started = runs[0].events("started")[0]
    assert started["layout"] == "padded"
    assert min(started["details"]["layout_errors"][layout][0] for layout in ("shared", "packed")) > 1e-3
    assert "shared: off by" in started["details"]["layout_reason"]
    (warning,) = [event for event in runs[0].events("warning") if event["code"] == "slower_way"]
    assert "shared: off by" in warning["message"]
    assert not [event for event in runs[1].events("warning") if event["code"] == "slower_way"]
    losses = [[event["metrics"]["loss"] for event in run.events("step")] for run in runs]
    assert losses[0] == losses[1]


def test_a_model_without_attention_is_trained(spec: RunSpec, tmp_path: Path) -> None:
    """Its configuration names no context: `max_length` alone limits."""
    settings = spec.settings.model_copy(update={"n_epochs": 1, "max_length": 100})
    with alone():
        run = Run(
            spec.model_copy(
                update={"model_dir": make_tiny_mamba(tmp_path / "mamba"), "workspace": tmp_path / "run"}
                | {"settings": settings, "probe_prompts": ["why"]}
            )
        )
        assert run.code() == 0, run.logs()
    assert run.events("started")[0]["layout"] == "padded"
    assert len(run.events("step")) == 5


def test_a_forced_layout_that_is_wrong_fails_the_run(spec: RunSpec, tmp_path: Path) -> None:
    model = make_tiny_hybrid(tmp_path / "hybrid")
    with alone():
        run = Run(
            spec.model_copy(
                update={"model_dir": model, "workspace": tmp_path / "run", "layout": "shared", "world_size": 1}
            )
        )
        assert run.code() == 73
    last = run.events()[-1]
    assert (last["event"], last["code"]) == ("failed", "gate_failed")
    assert "shared: off by" in last["message"]
