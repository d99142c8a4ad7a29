"""The disk of the node is full while a run seals: it says so, and goes on bit by bit from what was sealed before."""

from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.exits import Exit
from core.contract.run_spec import ResumeFrom, RunSpec
from tests.faults.disk import small_disk
from tests.launch import PATIENCE, Run, alone
from tests.trajectory.conftest import weights

pytestmark = pytest.mark.xdist_group("ranks")


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_its_name(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """Resume points and checkpoints every other step or so; whichever comes next meets the full disk."""
    with alone(), small_disk(tmp_path / "small", 64) as disk:
        more = {"workspace": disk.path / "first", "resume_steps": 3}
        first = Run(spec.model_copy(update=more))
        sealed = first.wait_for("resume_point_sealed")
        disk.fill()
        first.process.wait(PATIENCE)
        codes = {path.read_text() for path in (first.spec.workspace / "ranks").glob("*.exit")}
        assert codes == {str(int(Exit.INFRASTRUCTURE))}, first.logs()  # of whichever rank met it first
        last = first.events()[-1]
        assert (last["event"], last["code"]) == ("failed", "no_space"), last
        disk.free()
        told = first.events("resume_point_sealed")
        whole = {
            f"resume/{path.name}" for path in (first.spec.workspace / "resume").glob("step-*") if path.suffix == ""
        }
        assert whole <= {event["path"] for event in told}, "what is not whole has not its name"
        point = first.spec.workspace / sealed["path"]
        source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
        second = Run(spec.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
        assert second.code() == 0, second.logs()
    assert second.events("started")[0]["resumed_from_step"] == sealed["step"]
    assert weights(second.spec.workspace, 20) == weights(spec.workspace, 20)
