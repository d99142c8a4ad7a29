"""Objects that no row names go some time after their attempt, and nothing else does, however often one looks."""

from datetime import timedelta

import pytest
from sqlalchemy import func, update

from cli import orphans as listed
from core import ids, settings
from core.contract.errors import Fenced, Unavailable
from core.contract.manifest import FileEntry, Manifest
from core.contract.states import FileStatus, JobState, Outcome, TaskKind, TaskState
from core.db import attempts, checkpoints, files, intakes, jobs, models, nodes, rank_logs, references, tasks
from core.db.attempts import Ending, Lease
from core.db.engine import transaction
from core.db.tables import File, Job, Model, Task
from core.db.tasks import TaskClaim
from core.objects import keys
from core.objects.parts import PART_BYTES
from core.objects.store import Store
from tests.rows import make_job
from worker import orphans, task, workspace
from worker.claim import clean
from worker.orphans import StandingStill

MANIFEST = Manifest(files=[FileEntry(path="model.safetensors", bytes=1, sha256="0" * 64)])


@pytest.fixture
def lease(service: dict[str, str]) -> Lease:
    """Of a job that runs in its first attempt."""
    with transaction() as session:
        nodes.seen(session, "n1", 4, 4)
        job = make_job(session, state=JobState.QUEUED, training_digest="1" * 64)
        session.get_one(Model, job.model_id).manifest = {"files": []}
        found = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
    assert found is not None
    return found


def leave(store: Store, lease: Lease) -> tuple[set[str], set[str]]:
    """(objects that a row names, objects that none does), some of each kind that an attempt writes."""
    job_id, epoch = lease.job_id, lease.epoch
    kept = {
        keys.checkpoint(job_id, epoch, 4) + "model.safetensors",
        keys.resume_point(job_id, epoch, 2) + "model.safetensors",
        keys.reference_entry(job_id, epoch, 1),
        keys.result_file(job_id, epoch, "manifest.json"),
        keys.log(job_id, epoch, 0),
    }
    left = {
        keys.checkpoint(job_id, epoch, 4) + "half",
        keys.checkpoint(job_id, epoch, 6) + "model.safetensors",
        keys.resume_point(job_id, epoch, 4) + "model.safetensors",
        keys.reference_entry(job_id, epoch, 2),
        keys.result_file(job_id, epoch, "step_metrics.csv"),
    }
    for key in kept | left:
        store.put(key, b"x")
    with transaction() as session:
        job = jobs.locked(session, job_id)
        prefix = keys.checkpoint(job_id, epoch, 4)
        checkpoints.commit(session, job, epoch=epoch, step=4, prefix=prefix, manifest=MANIFEST, metrics={})
        prefix = keys.resume_point(job_id, epoch, 2)
        checkpoints.commit_resume_point(session, job_id, epoch=epoch, step=2, prefix=prefix, manifest=MANIFEST)
        references.commit(
            session,
            project_id=job.project_id,
            key="k",
            data_digest="d",
            object_key=keys.reference_entry(job_id, epoch, 1),
            bytes=1,
            sha256="0" * 64,
            sequences=1,
        )
        files.create(
            session,
            file_id=ids.file_id(),
            project_id=job.project_id,
            filename="manifest.json",
            purpose=files.RESULTS,
            bytes=1,
            sha256="0" * 64,
            object_key=keys.result_file(job_id, epoch, "manifest.json"),
        )
        rank_logs.write(session, job_id, epoch, 0, "the end")
    return kept, left


def stored(store: Store) -> set[str]:
    return {each.key for each in store.list("")}


def end(lease: Lease) -> None:
    with transaction() as session:
        attempts.close(session, lease, Ending(Outcome.FAILED, retry=True))


def due() -> list[TaskClaim]:
    """Claims on all that is to be collected, as if its time had come."""
    found: list[TaskClaim] = []
    with transaction() as session:
        session.execute(
            update(Task)
            .where(Task.kind == TaskKind.COLLECT_ORPHANS)
            .values(state=TaskState.QUEUED, run_after=func.now() - timedelta(seconds=1))
        )
    while True:
        with transaction() as session:
            claim = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
        if claim is None:
            return found
        found.append(claim)


def test_what_no_row_names_goes_an_hour_after_the_attempt_and_nothing_else(lease: Lease, store: Store) -> None:
    kept, _ = leave(store, lease)
    other = keys.resume_point(lease.job_id, 2, 2) + "model.safetensors"
    store.put(other, b"x")
    end(lease)
    with transaction() as session:
        (waits,) = session.query(Task).filter_by(kind=TaskKind.COLLECT_ORPHANS)
        # One now() for both: the transaction that ends the attempt adds the task.
        assert (waits.run_after - waits.created_at).total_seconds() == settings.worker().orphan_seconds == 3_600
    (claim,) = due()
    orphans.collect(claim, store)
    assert stored(store) == kept | {other}
    (again,) = due()
    orphans.collect(again, store)
    assert stored(store) == kept | {other}
    with transaction() as session:
        assert listed.find(session, store) == [other]


def test_nothing_of_an_open_attempt_goes(lease: Lease, store: Store) -> None:
    leave(store, lease)
    before = stored(store)
    with transaction() as session:
        tasks.collect(session, "early", job_id=lease.job_id, epoch=lease.epoch)
    (claim,) = due()
    with pytest.raises(Unavailable):
        orphans.collect(claim, store)
    assert stored(store) == before


def test_what_was_deleted_is_nobodys_any_more(lease: Lease, store: Store) -> None:
    leave(store, lease)
    end(lease)
    with transaction() as session:
        for model in session.query(Model).filter_by(job_id=lease.job_id):
            models.retire(session, model)
        checkpoints.drop_resume_points(session, lease.job_id)
        session.execute(update(File).values(deleted_at=func.now()))
        references.drop(session, references.find(session, session.get_one(Job, lease.job_id).project_id, "k", ["d"]))
    for claim in due():
        task.run(claim, settings.worker().scratch, Store.from_settings())
    assert stored(store) == {keys.log(lease.job_id, lease.epoch, 0)}


def test_a_collector_that_is_not_the_holder_ends_nothing(lease: Lease, store: Store) -> None:
    end(lease)
    (claim,) = due()
    task.lose(claim, "its worker was not heard of any more", its_own=False)
    (newer,) = due()
    with pytest.raises(Fenced):
        orphans.collect(claim, store)
    assert state_of(newer) == TaskState.RUNNING
    orphans.collect(newer, store)
    assert state_of(newer) == TaskState.DONE


def state_of(claim: TaskClaim) -> str:
    with transaction() as session:
        return session.get_one(Task, claim.id).state


def test_the_folder_of_a_task_that_was_killed_goes(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.worker(), "node", "n1")
    end(lease)
    (claim,) = due()
    alive, dead = workspace.of_task(claim.id, claim.epoch), workspace.of_task(claim.id, claim.epoch - 1)
    for folder in (alive, dead):
        folder.mkdir(parents=True)
        (folder / "source").write_bytes(b"x")
    clean()
    assert (alive.exists(), dead.exists()) == (True, False)


@pytest.mark.parametrize("used", [True, False])
def test_canonical_records_that_found_no_user_go(lease: Lease, store: Store, used: bool) -> None:
    digest = "2" * 64
    store.put(keys.canonical(digest), b"x")
    with transaction() as session:
        tasks.collect(session, digest, canonical_digest=digest)
        if used:
            session.execute(update(File).values(canonical_digest=digest, status=FileStatus.PROCESSED))
    (claim,) = due()
    orphans.collect(claim, store)
    assert stored(store) == ({keys.canonical(digest)} if used else set())


def test_uploads_that_stand_still_are_aborted(lease: Lease, store: Store) -> None:
    """None that an intake names, none of an open attempt, none to which parts still come."""
    dead, fed, growing = keys.file("dead"), keys.file("fed"), keys.canonical("3" * 64)
    held, late = keys.log(lease.job_id, lease.epoch, 0), keys.log(lease.job_id, lease.epoch + 1, 0)
    uploads = {key: store.begin_multipart(key) for key in (dead, fed, growing, held, late)}
    with transaction() as session:
        intakes.begin(session, file_id="fed", object_key=fed, store_upload_id=uploads[fed])
    watch = StandingStill(store)
    assert watch.abort(3_600) == 0
    store.upload_part(growing, uploads[growing], 1, b"x" * PART_BYTES)
    assert watch.abort(3_600) == 0, "an hour has not passed"
    watch = StandingStill(store)
    watch.abort(3_600)
    store.upload_part(growing, uploads[growing], 2, b"x")
    assert watch.abort(1e-9) == 2
    assert {each.key for each in store.unfinished()} == {fed, growing, held}
    with transaction() as session:
        assert listed.find(session, store) == [f"{growing} (an unfinished upload)"]
