"""Asked to finish, a run leaves the loop after its step and does everything else that an ending run does."""

import pytest

from core.contract import manifest
from core.contract.run_spec import RunSpec
from tests.launch import Run, alone

pytestmark = pytest.mark.xdist_group("ranks")


@pytest.mark.slow
def test_a_run_that_is_to_finish_writes_its_model(spec: RunSpec, straight: Run) -> None:
    workspace = spec.workspace.with_name("finish")
    workspace.mkdir()
    (workspace / "stop").write_text("finish")
    with alone():
        # A checkpoint would be due at that step, too, and lie where the finished model does.
        run = Run(spec.model_copy(update={"workspace": workspace, "checkpoint_steps": 1}))
        assert run.code() == 0, run.logs()
    (step,) = run.events("step")
    assert step["metrics"]["loss"] == straight.events("step")[0]["metrics"]["loss"]
    assert [event["step"] for event in run.events("eval")] == [0, 1]
    (verified,) = run.events("verified")
    assert (verified["step"], verified["passed"]) == (1, True)
    assert [(event["when"], event["step"]) for event in run.events("sample")][2:] == [("after", 1)] * 2
    (sealed,) = run.events("checkpoint_sealed")
    assert (sealed["step"], sealed["final"]) == (1, True)
    folder = workspace / sealed["path"]
    manifest.verify(folder, manifest.read(folder))
    assert run.events()[-1] | {"event": "finished", "step": 1} == run.events()[-1]
