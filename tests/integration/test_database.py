"""Claims, leases and closing on a real Postgres."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from core.contract.errors import Conflict, Fenced
from core.contract.states import JobState, Outcome
from core.db import attempts, events, jobs, nodes
from core.db.attempts import Ending
from core.db.engine import transaction
from tests.rows import make_job


@pytest.fixture
def job_id(service: dict[str, str]) -> str:
    with transaction() as session:
        nodes.seen(session, "n1", 2, 2)
        return make_job(session, state=JobState.QUEUED).id


def test_a_claim_takes_the_job_and_its_slots(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert lease is not None
        assert (lease.job_id, lease.epoch) == (job_id, 1)
    with transaction() as session:
        make_job(session, state=JobState.QUEUED, ranks=2)
        assert attempts.claim(session, node="n1", owner="o", lease_seconds=60) is None, "one of two slots is used"
        second = make_job(session, state=JobState.QUEUED)
        taken = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert taken is not None
        assert taken.job_id == second.id


def test_a_closed_attempt_can_write_nothing(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert lease is not None
    with transaction() as session:
        attempts.close(session, lease, Ending(Outcome.LOST, retry=True))
    with pytest.raises(Fenced), transaction() as session:
        attempts.hold(session, lease, 60)
    with pytest.raises(Fenced), transaction() as session:
        attempts.close(session, lease, Ending(Outcome.FINISHED))
    with transaction() as session:
        again = attempts.claim(session, node="n1", owner="o2", lease_seconds=60)
        assert again is not None
        assert again.epoch == 2


def test_a_wish_reaches_the_holder_and_decides_the_end(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert lease is not None
    with transaction() as session:
        job = jobs.locked(session, job_id)
        assert jobs.cancel(session, job.project_id, job_id).state == JobState.RUNNING
    with transaction() as session:
        assert attempts.hold(session, lease, 60) == "cancel"
    with transaction() as session:
        assert attempts.close(session, lease, Ending(Outcome.STOPPED)) == JobState.CANCELLED
    with pytest.raises(Conflict), transaction() as session:
        jobs.fail(session, jobs.locked(session, job_id), code="x", message="terminal is for ever")


def test_an_expired_lease_is_taken_over_once(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=-10)
        assert lease is not None
    with transaction() as session:
        assert attempts.expired(session, 5) == [lease]
        assert attempts.expired(session, 15) == []
        attempts.take_over(session, lease, Ending(Outcome.LOST, retry=True), 5)
    with pytest.raises(Fenced), transaction() as session:
        attempts.take_over(session, lease, Ending(Outcome.LOST, retry=True), 5)


def test_seq_is_contiguous_and_each_move_has_one_event(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert lease is not None
        attempts.close(session, lease, Ending(Outcome.FINISHED))
    with transaction() as session:
        rows, more = events.page(session, job_id, None, 100)
        assert not more
        assert [row.seq for row in rows] == list(range(len(rows), 0, -1))
        assert jobs.locked(session, job_id).last_seq == len(rows) == 2


def test_another_owner_of_the_same_epoch_is_fenced(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=60)
        assert lease is not None
    with pytest.raises(Fenced), transaction() as session:
        attempts.hold(session, replace(lease, owner="another"), 60)


def test_a_lease_that_was_renewed_is_not_taken_over(job_id: str) -> None:
    with transaction() as session:
        lease = attempts.claim(session, node="n1", owner="o", lease_seconds=-10)
        assert lease is not None
        assert attempts.expired(session, 5) == [lease]
        attempts.hold(session, lease, 60)
    with pytest.raises(Fenced), transaction() as session:
        attempts.take_over(session, lease, Ending(Outcome.LOST, retry=True), 5)


def test_two_nodes_claim_at_once_without_waiting(job_id: str) -> None:
    with transaction() as session:
        nodes.seen(session, "n2", 2, 2)
        another = make_job(session, state=JobState.QUEUED).id
    with transaction() as one, transaction() as other:
        first = attempts.claim(one, node="n1", owner="o", lease_seconds=60)
        second = attempts.claim(other, node="n2", owner="o", lease_seconds=60)
        assert first is not None
        assert second is not None
        assert {first.job_id, second.job_id} == {job_id, another}


def test_one_node_does_not_claim_twice_at_once(job_id: str) -> None:
    """It would count the same slots as free twice."""
    with transaction() as session:
        make_job(session, state=JobState.QUEUED)
    with transaction() as one:
        assert attempts.claim(one, node="n1", owner="o", lease_seconds=60) is not None
        with transaction() as other:
            other.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                attempts.claim(other, node="n1", owner="o2", lease_seconds=60)
            other.rollback()
