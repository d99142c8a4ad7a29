"""What refuses a holder who holds no more, a loser who lost too often, and bytes that are not what they should be."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError

from core import ids
from core.contract import manifest as manifests
from core.contract.errors import Fenced
from core.contract.manifest import ManifestMismatch
from core.contract.states import JobState, Outcome, TaskKind
from core.contract.trainer_events import CheckpointSealed
from core.db import attempts, files, jobs, models, nodes, seats, tasks
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.tables import Attempt, Checkpoint, File, Job, Model, Node, Task
from core.objects import keys
from core.objects.store import Store
from tests.model import world
from tests.rows import make_job
from worker import cache, claim
from worker.publisher import Publisher


@pytest.fixture
def lease(service: dict[str, str]) -> Lease:
    """Of a job that runs on n1."""
    with transaction() as session:
        nodes.seen(session, "n1", 2, 2)
        make_job(session, state=JobState.QUEUED)
        found = claimed(session)
        assert found is not None
        return found


def claimed(session: Session, lease_seconds: float = 60) -> Lease | None:
    return attempts.claim(session, node="n1", owner="o", lease_seconds=lease_seconds)


def test_another_epoch_of_the_same_owner_is_fenced(lease: Lease) -> None:
    for write in (attempts.hold, attempts.check):
        with pytest.raises(Fenced), transaction() as session:
            write(session, replace(lease, epoch=lease.epoch + 1), *([60] if write is attempts.hold else []))


def test_who_was_closed_is_told_so_before_it_writes(lease: Lease) -> None:
    with transaction() as session:
        attempts.check(session, lease)
        attempts.close(session, lease, Ending(Outcome.LOST, retry=True))
    with pytest.raises(Fenced), transaction() as session:
        attempts.check(session, lease)


def test_the_database_itself_refuses_a_second_open_attempt(lease: Lease) -> None:
    second = Attempt(job_id=lease.job_id, epoch=2, node="n2", owner="p", slots=1, lease_until=func.now())
    with pytest.raises(IntegrityError, match="uq_attempts_open"), transaction() as session:
        session.add(second)


def test_a_checkpoint_of_a_closed_attempt_is_not_listed(lease: Lease, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "step-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    manifests.write(folder, manifests.build(folder))
    with transaction() as session:
        attempts.close(session, lease, Ending(Outcome.LOST, retry=True))
    publisher = Publisher(lease, tmp_path, store, lease_seconds=60, keep=3)
    publisher.take(CheckpointSealed(time=0, step=1, path="checkpoints/step-1"))
    with pytest.raises(Fenced):
        publisher.finish()
    with transaction() as session:
        assert session.query(Checkpoint).all() == []


@pytest.mark.parametrize("other", [{"epoch": 2}, {"owner": "another"}])
def test_a_task_is_its_holders(service: dict[str, str], other: dict[str, object]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject="models/x/")
        held = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
        assert held is not None
    with pytest.raises(Fenced), transaction() as session:
        tasks.finish(session, replace(held, **other))  # type: ignore[arg-type]
    with transaction() as session:
        tasks.finish(session, held)


def test_a_task_that_is_lost_three_times_is_given_up(service: dict[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject="models/x/")
    lost = []
    for _ in range(3):
        with transaction() as session:
            held = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
            assert held is not None
            lost.append(tasks.lose(session, held, "crashed", 0))
    assert lost == [False, False, True]
    with transaction() as session:
        assert tasks.claim(session, node="n1", owner="o", lease_seconds=60) is None


def lapse(lease: Lease) -> JobState:
    """Its holder fell silent, and its ranks are dead; the state that its job has then."""
    with transaction() as session:
        session.execute(update(Attempt).values(lease_until=func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 10)))
    claim.lapsed(lease, 5, reachable=False)
    with transaction() as session:
        session.execute(update(Job).values(run_after=func.now()))
        seats.end(session, lease.job_id, lease.epoch)
        return JobState(jobs.locked(session, lease.job_id).state)


def test_five_losses_in_a_row_end_a_job_and_a_resume_point_begins_the_count_anew(lease: Lease) -> None:
    held: Lease | None = lease
    states = []
    for attempt in range(1, 7):
        assert held is not None
        if attempt == 2:
            world.commit_resume_point(held, 1)
        states.append(lapse(held))
        with transaction() as session:
            held = claimed(session)
    assert states == [JobState.QUEUED] * 5 + [JobState.FAILED]
    assert held is None
    with transaction() as session:
        assert (jobs.locked(session, lease.job_id).error or {})["code"] == "attempt_lost"


def test_an_expired_file_that_an_unfinished_job_uses_stays(lease: Lease) -> None:
    with transaction() as session:
        used = session.get_one(Job, lease.job_id).training_file
        session.execute(update(File).values(expires_at=File.created_at))
        assert files.expire(session) == 0
        attempts.close(session, lease, Ending(Outcome.FINISHED))
        assert files.expire(session) == 1
        assert session.get_one(File, used, populate_existing=True).deleted_at is not None


def test_objects_that_another_model_shows_stay(lease: Lease) -> None:
    """The last checkpoint and the job's own model are the same bytes."""
    with transaction() as session:
        world.commit_model(session, lease, 1)
        shown = session.query(Model).filter(Model.job_id == lease.job_id).all()
        assert len({model.prefix for model in shown}) == 1
        doomed = []
        for model in shown:
            models.retire(session, model)
            doomed.append(session.query(Task).filter(Task.subject == model.prefix).count())
    assert doomed == [0, 1]


def test_a_folder_that_was_changed_in_the_store_does_not_come_down(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "model.safetensors").write_bytes(b"weights")
    manifest = manifests.build(tmp_path / "up")
    store.upload_folder(tmp_path / "up", manifest, "models/m/")
    store.put("models/m/model.safetensors", b"weighty")
    with pytest.raises(ManifestMismatch, match=r"model\.safetensors"):
        cache.model(store, manifest.digest(), "models/m/", manifest)
    assert not (tmp_path / "cache" / "models" / manifest.digest()).exists()


def test_canonical_data_that_was_changed_in_the_store_is_not_trained_on(store: Store, tmp_path: Path) -> None:
    digest = ids.row_id()
    store.put(keys.canonical(digest), zstandard.compress(io.BytesIO(b'{"prompt": []}\n').getvalue()))
    with pytest.raises(ManifestMismatch, match=digest):
        cache.canonical(store, digest)
    assert not (tmp_path / "cache" / "canonical" / f"{digest}.jsonl.zst").exists()


def test_a_node_that_is_drained_takes_no_task(service: dict[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject="models/x/")
        nodes.drain(session, "n1")
        assert tasks.claim(session, node="n1", owner="o", lease_seconds=60) is None
        session.execute(update(Node).values(draining=False))
        assert tasks.claim(session, node="n1", owner="o", lease_seconds=60) is not None
