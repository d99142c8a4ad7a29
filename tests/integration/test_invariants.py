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

# What each breach is planted by, into a job (:job) at its second attempt, which has a checkpoint and a resume point.
PLANTS = {
    "one_open_attempt": [
        "DROP INDEX uq_attempts_open",
        "UPDATE attempts SET ended_at = NULL WHERE job_id = :job",
    ],
    "held_is_running": ["UPDATE jobs SET state = 'queued' WHERE id = :job"],
    "epochs_rise": ["UPDATE jobs SET epoch = 7 WHERE id = :job"],
    "terminal_for_ever": ["UPDATE jobs SET finished_at = now() + interval '1 hour' WHERE id = :job"],
    "no_resume_points_after_the_end": ["UPDATE jobs SET state = 'failed' WHERE id = :job"],
    "events_without_gaps": ["DELETE FROM events WHERE job_id = :job AND seq = 1"],
    "nothing_forgotten": [
        "UPDATE attempts SET lease_until = now() - interval '6 minutes' WHERE job_id = :job AND epoch = 2"
    ],
    "steps_rise": ["UPDATE attempts SET resumed_from_step = 30 WHERE job_id = :job AND epoch = 2"],
    "committed_by_the_holder": ["UPDATE checkpoints SET epoch = 1 WHERE job_id = :job"],
    "succeeded_has_a_model": ["UPDATE jobs SET fine_tuned_model = 'ft:gone' WHERE id = :job"],
    "one_project": [
        "INSERT INTO projects (id, name) VALUES ('another', 'another')",
        "UPDATE models SET project_id = 'another' WHERE job_id = :job",
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


@pytest.mark.parametrize("code", PLANTS)
def test_a_planted_breach_is_found(lease: Lease, code: str) -> None:
    """In a transaction that never commits."""
    with Session(engine()) as session:
        for statement in PLANTS[code]:
            session.execute(text(statement), {"job": lease.job_id} if ":job" in statement else {})
        assert code in found_of(session, lease.job_id)
