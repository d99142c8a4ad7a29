"""What is deleted, expired or left lying: the row at once, the objects by a Task, and nothing that is still needed."""

import hashlib
from datetime import timedelta

import boto3
import pytest
from sqlalchemy import func, select, update

from core import ids
from core.contract.errors import BadInput, Conflict, NotFound
from core.contract.manifest import FileEntry, Manifest
from core.contract.states import JobState
from core.db import files, intakes, jobs, models, retention, tasks
from core.db.engine import Session, transaction
from core.db.submit import known_file
from core.db.tables import Event, File, Intake, Job, Model
from core.objects import keys
from core.objects.store import PART_BYTES, Store
from tests.deletions import work_off
from tests.rows import make_job
from worker.sweeper import Sweeper, end_intakes, expire

pytestmark = pytest.mark.usefixtures("service")
LATER = func.now() - timedelta(seconds=1)


def file_of(session: Session, store: Store, job: Job) -> File:
    """The job's training file, its bytes and its canonical records in the store."""
    file = session.get_one(File, job.training_file)
    file.object_key = keys.file(file.id)
    file.canonical_digest = hashlib.sha256(file.id.encode()).hexdigest()
    store.put(file.object_key, b"bytes")
    store.put(keys.canonical(file.canonical_digest), b"records")
    session.execute(update(Job).where(Job.id == job.id).values(training_digest=file.canonical_digest))
    session.flush()
    return file


def left(store: Store, file: File) -> tuple[bool, bool]:
    """Whether its bytes are there, and its canonical records."""
    return (
        store.head(file.object_key) is not None,
        store.head(keys.canonical(file.canonical_digest or "")) is not None,
    )


def test_a_file_in_use_stays_and_then_goes_the_row_first(store: Store) -> None:
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED)
        file = file_of(session, store, job)
    with pytest.raises(Conflict, match=job.id) as refused, transaction() as session:
        files.delete(session, job.project_id, file.id)
    assert refused.value.code == "in_use"
    with transaction() as session:
        jobs.cancel(session, job.project_id, job.id)
        files.delete(session, job.project_id, file.id)
    with pytest.raises(NotFound), transaction() as session:
        files.get(session, job.project_id, file.id)
    with transaction() as session:
        assert session.get_one(File, file.id).deleted_at is not None
    assert left(store, file) == (True, True), "rows first, objects after"
    assert work_off(store) == 1
    assert left(store, file) == (False, False)


def test_canonical_records_stay_for_another_file_and_for_a_job_that_pins_them(store: Store) -> None:
    with transaction() as session:
        ended, pins = (make_job(session, state=state) for state in (JobState.CANCELLED, JobState.QUEUED))
        session.execute(update(Job).where(Job.id == ended.id).values(finished_at=func.now()))
        file = file_of(session, store, ended)
        twin = session.get_one(File, pins.training_file)
        twin.canonical_digest, twin.object_key = file.canonical_digest, keys.file(twin.id)
        session.execute(update(Job).where(Job.id == pins.id).values(training_digest=file.canonical_digest))
    with transaction() as session:
        files.delete(session, ended.project_id, file.id)
    work_off(store)
    assert left(store, file) == (False, True), "another file has them"
    with transaction() as session:
        files.retire(session, session.get_one(File, twin.id))
    work_off(store)
    assert left(store, file) == (False, True), "an unfinished job has them"
    with transaction() as session:
        jobs.cancel(session, pins.project_id, pins.id)
        tasks.add(
            session,
            kind=tasks.TaskKind.DELETE_OBJECTS,
            subject=file.object_key,
            payload={"canonical_digest": file.canonical_digest},
        )
    work_off(store)
    assert left(store, file) == (False, False)


def test_an_expired_file_goes_when_its_last_job_has_ended(store: Store) -> None:
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED)
        file = file_of(session, store, job)
        session.execute(update(File).where(File.id == file.id).values(expires_at=LATER))
    with pytest.raises(NotFound), transaction() as session:
        files.get(session, job.project_id, file.id)
    expire()
    assert (work_off(store), left(store, file)) == (0, (True, True))
    with transaction() as session:
        jobs.cancel(session, job.project_id, job.id)
    expire()
    assert (work_off(store), left(store, file)) == (1, (False, False))


def test_a_models_objects_go_with_the_last_row_that_shows_them(store: Store) -> None:
    manifest = Manifest(files=[FileEntry(path="config.json", bytes=2, sha256="0" * 64)])
    with transaction() as session:
        job = make_job(session, state=JobState.CANCELLED, finished_at=func.now())
        prefix = f"jobs/{job.id}/a1/checkpoints/2/"
        for name in ("ft:base:p::1:ckpt-step-2", "ft:base:p::1"):
            row = Model(id=ids.row_id(), name=name, project_id=job.project_id, job_id=job.id, digest="d", prefix=prefix)
            row.manifest = manifest.model_dump()
            session.add(row)
    store.put(prefix + "config.json", b"{}")
    for name, gone in (("ft:base:p::1:ckpt-step-2", False), ("ft:base:p::1", True)):
        with transaction() as session:
            models.delete(session, job.project_id, name)
        with pytest.raises(NotFound), transaction() as session:
            models.by_name(session, job.project_id, name)
        work_off(store)
        assert (store.head(prefix + "config.json") is None) == gone


def test_an_upload_that_nobody_feeds_is_aborted_after_ten_minutes(store: Store, service: dict[str, str]) -> None:
    begun = {}
    for minutes in (9, 11):
        file_id = ids.file_id()
        begun[minutes] = (file_id, store.begin_multipart(keys.file(file_id)))
        store.upload_part(keys.file(file_id), begun[minutes][1], 1, b"x" * PART_BYTES)
        with transaction() as session:
            intakes.begin(session, file_id=file_id, object_key=keys.file(file_id), store_upload_id=begun[minutes][1])
            session.flush()
            seen = func.now() - timedelta(minutes=minutes)
            session.execute(update(Intake).where(Intake.file_id == file_id).values(seen_at=seen))
    end_intakes()
    assert work_off(store) == 1
    s3 = boto3.session.Session().client("s3", endpoint_url=service["S3_ENDPOINT_URL"])
    uploads = s3.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])
    s3.close()
    assert [each["UploadId"] for each in uploads] == [begun[9][1]]
    with transaction() as session:
        assert session.scalars(select(Intake.file_id)).all() == [begun[9][0]]
        assert not intakes.seen(session, begun[11][0]), "who still sends is told"


def test_a_long_history_goes_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one batch an hour."""
    monkeypatch.setattr(retention, "BATCH", 2)
    with transaction() as session:
        for _ in range(5):
            job = make_job(session, state=JobState.FAILED, finished_at=func.now() - timedelta(days=200))
            session.add(Event(job_id=job.id, seq=1, id=ids.event_id(), level="info", type="message", message="x"))
    sweeper = Sweeper()
    for remaining in (3, 1, 0, 0):
        sweeper.retain()
        with transaction() as session:
            assert session.scalar(select(func.count()).select_from(Event)) == remaining


def test_no_job_begins_on_a_file_that_has_expired() -> None:
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED)
        known_file(session, job.project_id, job.training_file, "training_file")
        session.execute(update(File).where(File.id == job.training_file).values(expires_at=LATER))
    with pytest.raises(BadInput, match="POST it to /v1/files") as refused, transaction() as session:
        known_file(session, job.project_id, job.training_file, "training_file")
    assert refused.value.code == "file_not_found"
