"""Validation and inspection as Tasks: children of a real worker, with real files in the store."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from core import settings
from core.contract import manifest as manifests
from core.contract.states import FileStatus, JobState, TaskKind, TaskState
from core.db import files, nodes, tasks
from core.db.engine import transaction
from core.db.tables import File, Job, Model, Task
from core.db.tasks import TaskClaim
from core.objects import keys
from core.objects.store import Store
from core.queue import ring
from tests.integration.worker.conftest import job_row, start_worker
from tests.models import make_tiny_model
from tests.rows import make_job
from tests.waiting import until
from worker import task

PAIR = '{"prompt": "tell me a story about the fox %d", "chosen": "the fox found a key %d", "rejected": "no %d"}\n'
Upload = Callable[..., Job]


@pytest.fixture
def upload(service: dict[str, str], store: Store, tmp_path: Path) -> Upload:
    """A job in validating_files on a tiny model and a file of these bytes, not judged yet."""

    def uploaded(body: bytes, spoil: str | None = None) -> Job:
        folder = make_tiny_model(tmp_path / "model")
        if spoil is not None:
            (folder / spoil).write_text("{}")
        manifest = manifests.build(folder)
        store.upload_folder(folder, manifest, keys.model(manifest.digest()))
        with transaction() as session:
            job = make_job(session, state=JobState.VALIDATING_FILES, training_digest=None)
            model, file = session.get_one(Model, job.model_id), session.get_one(File, job.training_file)
            model.digest, model.prefix = manifest.digest(), keys.model(manifest.digest())
            model.manifest = manifest.model_dump()
            stored = store.put(keys.file(file.id), body)
            file.object_key, file.bytes, file.sha256 = keys.file(file.id), stored.bytes, stored.sha256
            file.status, file.canonical_digest = FileStatus.UPLOADED, None
            tasks.add(session, kind=tasks.TaskKind.VALIDATE_FILE, subject=file.id)
        ring()
        return job

    return uploaded


def left_validation(job: Job, seconds: float = 60) -> Job:
    until(lambda: job_row(job.id).state != JobState.VALIDATING_FILES, "the verdict on the job", seconds)
    return job_row(job.id)


def file_of(job: Job) -> File:
    with transaction() as session:
        return session.get_one(File, job.training_file)


GOOD = "".join(PAIR % (n, n, n) for n in range(20)).encode()


def test_a_good_file_is_validated_inspected_and_its_job_goes_on(
    worker: "subprocess.Popen[bytes]", upload: Upload, store: Store
) -> None:
    job = left_validation(upload(GOOD))
    assert job.state != JobState.FAILED
    assert job.data is not None
    assert (job.data["pairs"], job.data["dropped"]) == (20, 0)
    file = file_of(job)
    assert file.status == FileStatus.PROCESSED
    assert file.canonical_digest == job.training_digest
    assert store.head(keys.canonical(file.canonical_digest or "")) is not None


def test_records_that_are_being_deleted_are_not_counted_on(
    worker: "subprocess.Popen[bytes]", upload: Upload, store: Store
) -> None:
    """By a task of another node, which stands before a store that does not answer."""
    digest = left_validation(upload(GOOD)).training_digest or ""
    claim = TaskClaim("deletes", 1, "o", TaskKind.DELETE_OBJECTS, "x")
    with transaction() as session:
        held = Task(id=claim.id, kind=claim.kind, subject=claim.subject, state=TaskState.RUNNING, epoch=1)
        held.owner, held.node = claim.owner, "another"
        session.add(held)
        session.flush()
        tasks.deletes(session, claim, digest)
        held.lease_until = datetime.now(UTC) + timedelta(hours=1)
    again = upload(GOOD)

    def tried() -> bool:
        with transaction() as session:
            of_it = session.query(Task).filter_by(kind=TaskKind.VALIDATE_FILE, subject=again.training_file).one()
            return of_it.epoch >= 2

    until(tried, "a second try", 60)
    assert file_of(again).status == FileStatus.UPLOADED
    store.delete(keys.canonical(digest))
    with transaction() as session:
        tasks.finish(session, claim)
    assert left_validation(again).training_digest == digest
    assert store.head(keys.canonical(digest)) is not None, "made anew"


def test_a_bad_file_refuses_its_job_and_says_where(worker: "subprocess.Popen[bytes]", upload: Upload) -> None:
    job = left_validation(upload(GOOD + b'{"prompt": 3}\n'))
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_training_file", "training_file")
    file = file_of(job)
    assert file.status == FileStatus.ERROR
    assert file.report is not None
    assert file.report["errors"][0]["line"] == 21


def test_a_model_that_cannot_be_read_is_a_finding_not_a_crash(
    worker: "subprocess.Popen[bytes]", upload: Upload
) -> None:
    job = left_validation(upload(GOOD, spoil="tokenizer.json"))
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["param"] == "model"
    assert "Traceback" not in job.error["message"]


@pytest.fixture
def starved_worker(service: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Its validators get too little memory to start."""
    process = start_worker(service, tmp_path / "worker.log", PALATE_TASK_MEMORY_BYTES=str(30 << 20))
    yield process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_validator_that_crashes_three_times_refuses_the_file(
    starved_worker: "subprocess.Popen[bytes]", upload: Upload
) -> None:
    job = left_validation(upload(GOOD))
    assert job.state == JobState.FAILED
    file = file_of(job)
    assert (file.status, file.error_code) == (FileStatus.ERROR, "validation_crashed")


def tries(kind: TaskKind) -> list[tuple[str, int]]:
    with transaction() as session:
        return [(task.state, task.epoch) for task in session.query(Task).filter_by(kind=kind)]


def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_TASK_WALL_SECONDS", "0.1")
    settings.worker.cache_clear()


def claimed(kind: TaskKind) -> TaskClaim:
    with transaction() as session:
        claim = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
    assert claim is not None
    assert claim.kind == kind
    return claim


def test_checks_that_take_too_long_are_a_verdict(
    upload: Upload, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are not tried three times, each for as long as one may take."""
    job = upload(GOOD)
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
    in_no_time(monkeypatch)
    task.run(claimed(TaskKind.VALIDATE_FILE), tmp_path, store)
    assert tries(TaskKind.VALIDATE_FILE) == [(TaskState.DONE, 1)]
    file = file_of(job)
    assert (file.status, file.error_code) == (FileStatus.ERROR, "validation_took_too_long")
    assert "Split it" in (file.status_details or "")
    assert job_row(job.id).state == JobState.FAILED


def test_an_inspection_that_takes_too_long_is_a_verdict(
    upload: Upload, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = upload(GOOD)
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    task.run(claimed(TaskKind.VALIDATE_FILE), tmp_path / "one", store)
    assert job_row(job.id).state == JobState.VALIDATING_FILES
    in_no_time(monkeypatch)
    task.run(claimed(TaskKind.INSPECT), tmp_path / "two", store)
    assert tries(TaskKind.INSPECT) == [(TaskState.DONE, 1)]
    failed = job_row(job.id)
    assert failed.state == JobState.FAILED
    assert (failed.error or {})["code"] == "inspection_took_too_long"
    assert (failed.error or {})["param"] == "training_file"


def test_what_is_not_a_tasks_own_doing_does_not_count_but_has_a_bound(
    service: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TRIES", 5)
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject="models/x/")

    def lost(*, its_own: bool) -> bool:
        with transaction() as session:
            claim = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
            assert claim is not None
            return tasks.lose(session, claim, "the store was away", 0, its_own=its_own)

    assert [lost(its_own=own) for own in (True, False, False, True)] == [False] * 4
    assert lost(its_own=False), "the fifth time nobody believes it any more"


def test_objects_go_with_their_file_and_canonical_data_with_its_last_user(
    worker: "subprocess.Popen[bytes]", upload: Upload, store: Store
) -> None:
    first = left_validation(upload(GOOD))
    second = left_validation(upload(GOOD))
    digest = file_of(first).canonical_digest or ""
    assert file_of(second).canonical_digest == digest
    for job, stays in ((first, True), (second, False)):
        until(partial(over, job), "the job's end")
        with transaction() as session:
            files.delete(session, job.project_id, job.training_file)
        ring()
        until(partial(absent, store, keys.file(job.training_file)), "the file's object to go")
        until(no_live_task, "the deletion to be done")
        assert (store.head(keys.canonical(digest)) is not None) == stays


def over(job: Job) -> bool:
    return JobState(job_row(job.id).state).terminal


def absent(store: Store, key: str) -> bool:
    return store.head(key) is None


def no_live_task() -> bool:
    with transaction() as session:
        return tasks.live(session) == 0
