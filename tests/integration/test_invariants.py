"""Each invariant finds its breach on a real Postgres, and finds nothing where all is well."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from core.contract.manifest import FileEntry, Manifest
from core.contract.states import JobState, Outcome
from core.db import attempts, checkpoints, jobs, nodes
from core.db.attempts import Ending, Lease
from core.db.engine import Session, engine, transaction
from core.db.invariants import INVARIANTS, breaches
from core.objects import keys
from tests.rows import make_job

MANIFEST = Manifest(files=[FileEntry(path="model.safetensors", bytes=1, sha256="0" * 64)])

ANOTHER = "INSERT INTO projects (id, name) VALUES ('another', 'another')"
WAITS = "UPDATE jobs SET state = 'validating_files', created_at = now() - interval '6 minutes' WHERE id = :job"
SECOND = "WHERE job_id = :job AND epoch = 2"
OF_ITS_RECORDS = "jsonb_build_object('digest', training_digest)"


def task(kind: str, subject: str, payload: str = "'{}'", state: str = "queued") -> str:
    """A statement that adds one; what it is about, in SQL, of the job."""
    columns = "tasks (id, kind, subject, payload, state)"
    return (
        f"INSERT INTO {columns} SELECT 'planted', '{kind}', {subject}, {payload}, '{state}' FROM jobs WHERE id = :job"
    )


# By invariant: a word of what is found by each part of it, and what that is planted by, into a job (:job) at its second
# attempt, which has a checkpoint and a resume point.
PLANTS: dict[str, list[tuple[str, ...]]] = {
    "one_open_attempt": [
        ("has 2", "DROP INDEX uq_attempts_open", "UPDATE attempts SET ended_at = NULL WHERE job_id = :job"),
    ],
    "held_is_running": [
        ("open attempts: 1", "UPDATE jobs SET state = 'queued' WHERE id = :job"),
        ("open attempts: 0", "UPDATE attempts SET ended_at = now() WHERE job_id = :job AND epoch = 2"),
    ],
    "seats_of_the_held": [
        (
            "attempt 2 holds 1 on invariants, its seat: cpu0 on invariants",
            f"UPDATE seats SET ended_at = now() {SECOND}",
        ),
        ("its seat: cpu0 cpu1 on invariants", f"UPDATE seats SET devices = '{{cpu0,cpu1}}' {SECOND}"),
        ("its seat: cpu0 on elsewhere", f"UPDATE seats SET node = 'elsewhere' {SECOND}"),
        (
            "its seat: none",
            f"DELETE FROM seat_devices {SECOND}",
            f"DELETE FROM seats {SECOND}",
        ),
        (
            "its seat on invariants has not",
            "UPDATE attempts SET ended_at = now() - interval '6 minutes' WHERE job_id = :job AND epoch = 1",
            "UPDATE seats SET ended_at = NULL WHERE job_id = :job AND epoch = 1",
        ),
    ],
    "devices_of_open_seats": [
        ("cpu0: in an open seat of", f"DELETE FROM seat_devices {SECOND}"),
        ("in an open seat of nobody", f"UPDATE seat_devices SET device = 'cpu9' {SECOND}"),
        ("in an open seat of nobody", f"UPDATE seats SET ended_at = now() {SECOND}"),
    ],
    "epochs_rise": [
        ("is at epoch 7", "UPDATE jobs SET epoch = 7 WHERE id = :job"),
        (
            "with 1 attempts",
            "DELETE FROM seats WHERE job_id = :job AND epoch = 1",
            "DELETE FROM attempts WHERE job_id = :job AND epoch = 1",
        ),
        (
            "attempt 2 began before 1 had ended",
            "UPDATE attempts SET ended_at = now() + interval '1 hour' WHERE job_id = :job AND epoch = 1",
        ),
        (
            "attempt 2 began before 1 had ended",
            "DROP INDEX uq_attempts_open",
            "UPDATE attempts SET ended_at = NULL WHERE job_id = :job AND epoch = 1",
        ),
    ],
    "terminal_for_ever": [
        ("is running", "UPDATE jobs SET finished_at = now() + interval '1 hour' WHERE id = :job"),
        ("is failed", "UPDATE jobs SET state = 'failed' WHERE id = :job"),
        (
            "attempt 2 began after its end",
            "UPDATE jobs SET state = 'failed', finished_at = now() - interval '1 hour' WHERE id = :job",
        ),
    ],
    "no_resume_points_after_the_end": [
        ("resume points: 1", f"UPDATE jobs SET state = '{state}' WHERE id = :job")
        for state in ("succeeded", "failed", "cancelled")
    ],
    "events_without_gaps": [
        ("has", "DELETE FROM events WHERE job_id = :job AND seq = 1"),
        ("has", "UPDATE events SET seq = 100 WHERE job_id = :job AND seq = 1"),
        ("has 0", "DELETE FROM events WHERE job_id = :job"),
    ],
    "nothing_forgotten": [
        (
            "the lease of attempt 2 ended",
            "UPDATE attempts SET lease_until = now() - interval '6 minutes' WHERE job_id = :job AND epoch = 2",
        ),
        ("waits for checks", WAITS),
        ("waits for checks", WAITS, task("inspect", "'another'", "jsonb_build_object('digest', 'another')")),
        ("waits for checks", WAITS, task("validate_file", "'another'")),
        ("waits for checks", WAITS, task("inspect", "'mine'", OF_ITS_RECORDS, state="failed")),
    ],
    "steps_rise": [
        ("resume point of step 20", "UPDATE attempts SET resumed_from_step = 20 WHERE job_id = :job AND epoch = 2"),
        (
            "checkpoint of step 20",
            "DELETE FROM resume_points WHERE job_id = :job",
            "UPDATE attempts SET resumed_from_step = 21 WHERE job_id = :job AND epoch = 2",
        ),
    ],
    "committed_by_the_holder": [
        (
            "checkpoints/step-20/ is listed as step 20 of attempt 1",
            "UPDATE checkpoints SET epoch = 1 WHERE job_id = :job",
        ),
        ("resume/step-20/ is listed as step 30", "UPDATE resume_points SET step = 30 WHERE job_id = :job"),
        ("checkpoints/", "UPDATE checkpoints SET created_at = now() - interval '1 hour' WHERE job_id = :job"),
        ("resume/", "UPDATE resume_points SET created_at = now() - interval '1 hour' WHERE job_id = :job"),
        ("resume/", "UPDATE attempts SET ended_at = started_at WHERE job_id = :job AND epoch = 2"),
        (
            "of attempt 9",
            "UPDATE resume_points SET epoch = 9, prefix = replace(prefix, '/a2/', '/a9/') WHERE job_id = :job",
        ),
    ],
    "succeeded_has_a_model": [
        ("its model: ft:gone", "UPDATE jobs SET fine_tuned_model = 'ft:gone' WHERE id = :job"),
        ("its model: none", "UPDATE jobs SET state = 'succeeded' WHERE id = :job"),
        (
            "is running",
            "UPDATE jobs SET fine_tuned_model = (SELECT name FROM models WHERE job_id = :job) WHERE id = :job",
        ),
    ],
    "refused_is_not_finished": [
        (
            "step 20 was refused",
            "UPDATE checkpoints SET metrics = '{\"palate/verified\": 0}' WHERE job_id = :job",
            "UPDATE jobs SET fine_tuned_model = (SELECT name FROM models WHERE job_id = :job) WHERE id = :job",
        ),
    ],
    "one_project": [
        (": model ", ANOTHER, "UPDATE models SET project_id = 'another' WHERE job_id = :job"),
        (": model ", "UPDATE models SET project_id = NULL WHERE job_id = :job"),
        (
            ": base model ",
            ANOTHER,
            "UPDATE models SET project_id = 'another' WHERE id = (SELECT model_id FROM jobs WHERE id = :job)",
        ),
        (
            ": file ",
            ANOTHER,
            "UPDATE files SET project_id = 'another' WHERE id = (SELECT training_file FROM jobs WHERE id = :job)",
        ),
        (
            ": file ",
            ANOTHER,
            "INSERT INTO files (id, project_id, filename, purpose, bytes, sha256, object_key, status) "
            "VALUES ('held-out', 'another', '', '', 0, '', '', 'processed')",
            "UPDATE jobs SET validation_file = 'held-out' WHERE id = :job",
        ),
        (
            ": idempotency key",
            ANOTHER,
            "INSERT INTO idempotency_keys (project_id, key, body_sha256, job_id) VALUES ('another', 'k', '', :job)",
        ),
    ],
}


@pytest.fixture
def lease(service: dict[str, str]) -> Iterator[Lease]:
    """Of a second attempt, that has committed a checkpoint and a resume point."""
    with transaction() as session:
        nodes.seen(session, "invariants", 2, 2)
        job_id = make_job(session, state=JobState.QUEUED, priority=100).id
    with transaction() as session:
        first = claimed(session)
    with transaction() as session:
        attempts.close(session, first, Ending(Outcome.LOST, retry=True))
    with transaction() as session:
        second = claimed(session)
    assert (second.job_id, second.epoch) == (job_id, 2)
    with transaction() as session:
        job = jobs.locked(session, job_id)
        prefix = keys.checkpoint(job_id, 2, 20)
        checkpoints.commit(session, job, epoch=2, step=20, prefix=prefix, manifest=MANIFEST, metrics={})
        prefix = keys.resume_point(job_id, 2, 20)
        checkpoints.commit_resume_point(session, job_id, epoch=2, step=20, prefix=prefix, manifest=MANIFEST)
    yield second
    with transaction() as session:
        attempts.close(session, second, Ending(Outcome.FAILED))


def claimed(session: Session) -> Lease:
    found = attempts.claim(session, node="invariants", owner="o", lease_seconds=600)
    assert found is not None
    return found


def found_of(session: Session, job_id: str) -> set[str]:
    """Codes of the invariants that this job breaks."""
    return {breach.code for breach in breaches(session, named=1_000_000) if any(job_id in row for row in breach.rows)}


def test_every_invariant_has_its_plant() -> None:
    assert [each.code for each in INVARIANTS] == list(PLANTS)


def test_a_job_in_the_middle_breaks_nothing(lease: Lease) -> None:
    with transaction() as session:
        assert found_of(session, lease.job_id) == set()


def test_a_job_that_is_cancelled_while_it_waits_leaves_no_resume_point(service: dict[str, str], lease: Lease) -> None:
    """Paused or between two attempts: no holder is there to drop them."""
    with Session(engine()) as session:
        attempts.close(session, lease, Ending(Outcome.PREEMPTED))
        assert checkpoints.newest_resume_point(session, lease.job_id) is not None
        job = jobs.locked(session, lease.job_id)
        jobs.cancel(session, job.project_id, job.id)
        assert checkpoints.newest_resume_point(session, lease.job_id) is None
        assert found_of(session, lease.job_id) == set()


PLANTED = [(code, *plant) for code, plants in PLANTS.items() for plant in plants]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted[0]}-{planted[1]}")
def test_a_planted_breach_is_found(lease: Lease, planted: tuple[str, ...]) -> None:
    """In a transaction that never commits."""
    code, words, *statements = planted
    with Session(engine()) as session:
        plant(session, lease.job_id, *statements)
        rows = [row for each in breaches(session, named=1_000_000) if each.code == code for row in each.rows]
    assert any(lease.job_id in row and words in row for row in rows), rows


@pytest.mark.parametrize(
    "alive", [task("inspect", "'mine'", OF_ITS_RECORDS), task("validate_file", "training_file", state="running")]
)
def test_a_job_whose_data_is_looked_at_is_not_forgotten(lease: Lease, alive: str) -> None:
    with Session(engine()) as session:
        plant(session, lease.job_id, WAITS, alive)
        assert "nothing_forgotten" not in found_of(session, lease.job_id)


def plant(session: Session, job_id: str, *statements: str) -> None:
    for statement in statements:
        session.execute(text(statement), {"job": job_id} if ":job" in statement else {})
