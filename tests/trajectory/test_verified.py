"""A real run's last minutes: its model is sealed with what it is verified by, and whoever comes verifies it alone."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest
from core.contract.run_spec import Lora, ResumeFrom, RunSpec, Unverified
from tests.launch import Run, alone
from tests.trajectory.conftest import weights

pytestmark = pytest.mark.xdist_group("ranks")


@pytest.fixture(scope="module")
def brief(spec: RunSpec) -> RunSpec:
    """Two steps on two ranks, an adapter beside the model."""
    settings = spec.settings.model_copy(update={"lora": Lora(r=4, alpha=8.0), "learning_rate": 3e-3, "max_steps": 2})
    update = {"settings": settings, "export": ["adapter", "model"], "probe_prompts": ["why"]}
    return spec.model_copy(update=update)


@pytest.fixture(scope="module")
def killed(brief: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """By SIGKILL, all of it, when it had just said that its model is sealed and was about to verify it."""
    with alone():
        run = Run(brief.model_copy(update={"workspace": tmp_path_factory.mktemp("killed")}))
        run.wait_for("checkpoint_sealed", final=True)
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    assert run.events("verified") == []
    return run


def alone_of(run: Run, workspace: Path, **update: Any) -> Run:
    """The next attempt: on one rank, without anything of the first but its sealed model."""
    sealed = run.spec.workspace / run.events("checkpoint_sealed")[-1]["path"]
    folder = Path(shutil.copytree(sealed, workspace / "verify" / sealed.name))
    source = Unverified(path=folder, manifest_digest=manifest.read(folder).digest())
    nowhere = workspace / "nowhere"
    update = {"world_size": 1, "train_data": nowhere, "eval_data": nowhere, "probe_prompts": [], **update}
    with alone():
        again = Run(run.spec.model_copy(update={"workspace": workspace, "unverified": source, **update}))
        again.process.wait(120)
    return again


def test_killed_in_the_middle_of_its_verification(brief: RunSpec, killed: Run, tmp_path: Path) -> None:
    assert [point["step"] for point in killed.events("resume_point_sealed")] == [2], "an adapter's, before evaluating"
    again = alone_of(killed, tmp_path / "again")
    assert again.code() == 0, again.logs()
    assert again.events("step") == []
    (started,) = again.events("started")
    assert (started["resumed_from_step"], started["total_steps"], started["world_size"]) == (2, 2, 1)
    (verified,) = again.events("verified")
    assert verified["passed"]
    assert verified["figures"]["merge slope of the merged model"] == pytest.approx(1, abs=0.005)
    assert verified["figures"]["difference of the exported model"] <= verified["figures"]["allowed"]
    assert again.events()[-1] | {"event": "finished", "step": 2} == again.events()[-1]
    assert again.events("phase")[-1]["phase"] == "verifying"


def test_a_file_that_is_not_what_was_written(brief: RunSpec, tmp_path: Path) -> None:
    """Of the run itself: refused, sealed and told of before that."""
    settings = brief.settings.model_copy(update={"max_steps": 1, "lora": None})
    workspace = tmp_path / "run"
    update = {"workspace": workspace, "settings": settings, "export": ["model"], "world_size": 1, "probe_prompts": []}
    with alone():
        run = Run(brief.model_copy(update=update), program=("-m", "tests.refusing_trainer"))
        assert run.code() == 73, run.logs()
    (sealed,) = run.events("checkpoint_sealed")
    (verified,) = run.events("verified")
    assert (verified["passed"], verified["step"]) == (False, 1)
    assert run.events()[-1]["code"] == "export_mismatch"
    assert "does not have the bytes" in run.events()[-1]["message"]
    folder = workspace / sealed["path"]
    manifest.verify(folder, manifest.read(folder))
    assert len(manifest.read(folder).meta["proof"]["sums"]) == 14
    assert run.events("resume_point_sealed") == [], "of full weights there is none at the end"


@pytest.mark.slow
def test_a_cancelled_verification_and_a_drained_one(killed: Run, tmp_path: Path) -> None:
    for word in ("cancel", "drain"):
        workspace = tmp_path / word
        workspace.mkdir()
        (workspace / "stop").write_text(word)
        run = alone_of(killed, workspace)
        assert run.events()[-1] | {"event": "stopped", "step": 2, "reason": word} == run.events()[-1]
        assert run.events("verified") == []


@pytest.mark.slow
def test_a_node_that_is_lost_before_the_model_is_published(killed: Run, tmp_path: Path) -> None:
    """An adapter's resume point is of the last step: from there the same model is exported, and no step is trained."""
    point = killed.spec.workspace / killed.events("resume_point_sealed")[-1]["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    with alone():
        run = Run(killed.spec.model_copy(update={"workspace": tmp_path / "run", "resume_from": source}))
        assert run.code() == 0, run.logs()
    assert (run.events("step"), run.events("resume_point_sealed")) == ([], [])
    assert [each["passed"] for each in run.events("verified")] == [True]
    assert weights(run.spec.workspace, 2) == weights(killed.spec.workspace, 2)
