"""Reference log-probabilities from job to job, through a real worker and store, with the scripted trainer."""

import subprocess

from sqlalchemy import func, update

from core.contract.states import JobState, TaskKind, TaskState
from core.db import events, files
from core.db.engine import transaction
from core.db.tables import File, Job, ReferenceEntry, Task
from core.objects import keys
from core.objects.store import Store
from core.queue import ring
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import finished
from tests.waiting import until


def run(job_id: str) -> Job:
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    return job_row(job_id)


def once_more(job_id: str) -> str:
    """Another job of the same project on the same model and file."""
    old = job_row(job_id)
    same = {
        name: getattr(old, name)
        for name in ("project_id", "spec", "seed", "model_id", "training_file", "training_digest", "ranks")
    }
    with transaction() as session:
        session.add(Job(id=f"{job_id}-again", state=JobState.QUEUED, body_sha256="", **same))
    return f"{job_id}-again"


def said(job_id: str) -> dict[str, dict[str, object]]:
    """What the job's events say, each with its data."""
    with transaction() as session:
        return {event.message: event.data or {} for event in events.page(session, job_id, None, 100)[0]}


def forwards(job_id: str) -> object:
    return next(data for message, data in said(job_id).items() if message.startswith("Trainer started"))[
        "reference_forwards"
    ]


def entries() -> list[ReferenceEntry]:
    with transaction() as session:
        return list(session.query(ReferenceEntry))


def look_through() -> None:
    """Ended attempts, for objects that no row names; as if their time had come."""
    mine = Task.kind == TaskKind.COLLECT_ORPHANS
    with transaction() as session:
        assert session.query(Task).where(mine).count() == 2
        session.execute(update(Task).where(mine).values(run_after=func.now()))
    ring()

    def done() -> bool:
        with transaction() as session:
            return not session.query(Task).where(mine, Task.state != TaskState.DONE).count()

    until(done, "the collector")


def test_the_second_job_on_the_same_data_has_the_reference_already(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    first = run(submit())
    assert forwards(first.id) == 3
    (entry,) = entries()
    assert (entry.project_id, entry.data_digest, entry.sequences) == (first.project_id, first.training_digest, 3)
    assert store.head(entry.object_key) == entry.bytes
    second = run(once_more(first.id))
    assert forwards(second.id) == 0
    assert [each.id for each in entries()] == [entry.id]
    look_through()
    assert store.head(entry.object_key) == entry.bytes, "what is committed is not swept away"


def test_another_project_gets_none_of_it(worker: "subprocess.Popen[bytes]", submit: Submit) -> None:
    first, other = run(submit()), run(submit())
    assert first.training_digest == other.training_digest
    assert (forwards(first.id), forwards(other.id)) == (3, 3)
    assert {each.project_id for each in entries()} == {first.project_id, other.project_id}


def test_what_the_store_lost_or_spoiled_is_a_warning_and_computed_again(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    first = run(submit())
    (entry,) = entries()
    store.put(entry.object_key, b"bits have flipped")
    second = run(once_more(first.id))
    assert second.epoch == 1, "no attempt failed for it"
    assert forwards(second.id) == 3
    assert "reference_entry_unavailable" in {data.get("code") for data in said(second.id).values()}
    (newer,) = entries()
    assert newer.id != entry.id
    store.delete(newer.object_key)
    third = run(once_more(second.id))
    assert forwards(third.id) == 3


def test_it_goes_with_the_last_file_of_its_project_that_has_the_data(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    first, other = run(submit()), run(submit())
    for job in (first, other):
        with transaction() as session:
            file = session.get_one(File, job.training_file)
            file.canonical_digest, file.object_key = job.training_digest, keys.file(file.id)
    (gone,) = [each for each in entries() if each.project_id == first.project_id]
    with transaction() as session:
        files.delete(session, first.project_id, first.training_file)
    ring()
    until(lambda: store.head(gone.object_key) is None, "the object's end")
    assert [each.project_id for each in entries()] == [other.project_id]
    assert store.head(keys.canonical(first.training_digest or "")) is not None
