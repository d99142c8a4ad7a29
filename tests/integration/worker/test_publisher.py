"""What becomes of a sealed resume point, and what the trainer is told of it."""

import shutil
from pathlib import Path

import pytest

from core.contract import manifest as manifests
from core.contract.errors import PalateError
from core.contract.states import JobState
from core.contract.trainer_events import ResumePointSealed
from core.db import attempts, checkpoints, events, nodes
from core.db.attempts import Lease
from core.db.engine import transaction
from core.objects import keys
from core.objects.store import Store
from tests.rows import make_job
from worker.publisher import Publisher


@pytest.fixture
def lease(service: dict[str, str]) -> Lease:
    with transaction() as session:
        nodes.seen(session, "n1", 2, 2)
        make_job(session, state=JobState.QUEUED)
        found = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert found is not None
        return found


def sealed(workspace: Path, step: int) -> ResumePointSealed:
    folder = workspace / "resume" / f"step-{step}"
    folder.mkdir(parents=True)
    (folder / "state").write_text(f"state of {step}")
    manifests.write(folder, manifests.build(folder))
    return ResumePointSealed(time=0, step=step, path=f"resume/step-{step}")


def steps(lease: Lease) -> list[int]:
    with transaction() as session:
        return [point.step for point in checkpoints.resume_points(session, lease.job_id)]


def test_what_is_stored_is_named_and_gone_from_the_disk(lease: Lease, store: Store, tmp_path: Path) -> None:
    publisher = Publisher(lease, tmp_path, store, lease_seconds=60, keep=3)
    for step in (2, 4):
        publisher.take(sealed(tmp_path, step))
    publisher.finish()
    assert steps(lease) == [4, 2]
    assert (tmp_path / "stored").read_text() == "4"
    assert list((tmp_path / "resume").iterdir()) == []


def test_one_that_cannot_be_found_is_told_and_given_up(lease: Lease, store: Store, tmp_path: Path) -> None:
    """Then the trainer may begin another; nothing is skipped in silence."""
    publisher = Publisher(lease, tmp_path, store, lease_seconds=60, keep=3)
    gone = sealed(tmp_path, 2)
    shutil.rmtree(tmp_path / gone.path)
    publisher.take(gone)
    publisher.finish()
    assert steps(lease) == []
    assert (tmp_path / "stored").read_text() == "2"
    with transaction() as session:
        (told, *_), _ = events.page(session, lease.job_id, None, 10)
    assert (told.level, told.data) == ("warn", {"type": "resume_point_gone", "step": 2})
    assert "The resume point of step 2 was gone" in told.message


@pytest.mark.parametrize("planted", ["the point", "its parent", "a file", "a name"])
def test_what_leads_out_of_the_workspace_is_neither_stored_nor_removed(
    lease: Lease, store: Store, tmp_path: Path, planted: str
) -> None:
    """A link in place of the sealed folder, of the one above it, of a file in it; and a manifest that names `..`."""
    others, workspace = tmp_path / "others", tmp_path / "workspace"
    secret = others / "resume" / "step-2" / "state"
    sealed(others, 2)
    said = ResumePointSealed(time=0, step=2, path="resume/step-2")
    if planted == "its parent":
        workspace.mkdir()
        (workspace / "resume").symlink_to(others / "resume")
    elif planted == "the point":
        (workspace / "resume").mkdir(parents=True)
        (workspace / said.path).symlink_to(secret.parent)
    else:
        sealed(workspace, 2)
        (workspace / said.path / "state").unlink()
        (workspace / said.path / "state").symlink_to(secret)
    if planted == "a name":
        path = workspace / said.path / manifests.NAME
        path.write_text(path.read_text().replace('"state"', '"../../../others/resume/step-2/state"'))
    publisher = Publisher(lease, workspace, store, lease_seconds=60, keep=3)
    publisher.take(said)
    with pytest.raises(PalateError):
        publisher.finish()
    assert steps(lease) == []
    assert secret.read_text() == "state of 2"
    assert not list(store.list(keys.attempt(lease.job_id, lease.epoch)))
