"""Every order of submitting, claiming, dying, committing, pausing and sweeping that Hypothesis finds, on Postgres.

After each step Postgres says what the reference says, and every invariant of `palate doctor` holds.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from core.contract.errors import Conflict, Fenced
from core.contract.states import Desired, FailureClass, Outcome
from core.db import attempts, jobs, nodes, projects, seats
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.invariants import breaches
from core.db.tables import Attempt, Job
from tests.model import world
from tests.model.reference import Hold, Reference
from worker import claim, close

SLOTS = {"n1": 2, "n2": 1}
VERBS = {Desired.CANCEL: jobs.cancel, Desired.PAUSE: jobs.pause, Desired.RUN: jobs.resume}
NODES = st.sampled_from(sorted(SLOTS))
ANY = st.integers(0, 99)
ERROR = {"code": "interrupted", "message": "a rank was killed", "param": None}


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = world.empty()
        self.reference = Reference(dict(SLOTS))
        with transaction() as session:
            for name, slots in SLOTS.items():
                nodes.seen(session, name, slots, 1)

    def hold(self, pick: int) -> Hold:
        return self.reference.holds[pick % len(self.reference.holds)]

    def as_holder(self, hold: Hold, act: Callable[[Lease], Any]) -> Any:
        """A holder's write is accepted if, and only if, its attempt is open."""
        if hold.open:
            return act(hold.lease)
        with pytest.raises(Fenced):
            act(hold.lease)
        return None

    @rule(key=st.sampled_from("abcdef"), ranks=st.integers(1, 2))
    def post(self, key: str, ranks: int) -> None:
        """The same key twice is one job; another body for it is another test's."""
        known = self.reference.keys.get(key)
        ranks = self.reference.jobs[known].ranks if known else ranks
        job_id = self.world.create(key, ranks)
        if known is None:
            self.reference.submit(key, job_id, ranks)
        assert job_id == self.reference.keys[key]

    @rule(node=NODES)
    def claim(self, node: str) -> None:
        expected = self.reference.next_for(node)
        with transaction() as session:
            lease = attempts.claim(session, node=node, owner=f"{node} {len(self.reference.holds)}", lease_seconds=60)
            assert (lease.job_id if lease else None) == expected
            if lease is not None:
                step = self.reference.jobs[lease.job_id].step
                attempts.hold(session, lease, 60, resumed_from_step=step)
        if lease is not None:
            self.reference.claimed(lease, node)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY)
    def heartbeat(self, pick: int) -> None:
        hold = self.hold(pick)

        def renew(lease: Lease) -> Any:
            with transaction() as session:
                return attempts.hold(session, lease, 60)

        wish = self.as_holder(hold, renew)
        if hold.open:
            assert wish == self.reference.wish(hold)
            self.reference.renewed(hold)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY)
    def stall(self, pick: int) -> None:
        hold = self.hold(pick)
        if hold.open:
            with transaction() as session:
                row = (Attempt.job_id == hold.lease.job_id) & (Attempt.epoch == hold.lease.epoch)
                session.execute(update(Attempt).where(row).values(lease_until=func.now() - timedelta(seconds=10)))
            hold.stalled = True

    @rule()
    def sweep(self) -> None:
        """Twice, as two sweepers at once would: the second finds nothing to do."""
        with transaction() as session:
            expired = attempts.expired(session, 5)
        stalled = [hold for hold in self.reference.holds if hold.open and hold.stalled]
        assert {lease.owner for lease in expired} == {hold.lease.owner for hold in stalled}
        for lease in [*expired, *expired]:
            with suppress(Fenced):
                claim.lapsed(lease, 5, reachable=False)
        for hold in stalled:
            self.reference.closed(hold, Outcome.FAILED, self.reference.retries_left(hold), seated=True)

    @rule(node=NODES)
    def clean(self, node: str) -> None:
        with transaction() as session:
            left = seats.left_on(session, node)
            for job_id, epoch in left:
                seats.end(session, job_id, epoch)
        assert set(left) == self.reference.cleaned(node)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY)
    def commit(self, pick: int) -> None:
        hold = self.hold(pick)
        hold.step += 1
        self.as_holder(hold, lambda lease: world.commit_resume_point(lease, hold.step))
        if hold.open:
            self.reference.committed(hold)
            self.reference.renewed(hold)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY)
    def finish(self, pick: int) -> None:
        hold = self.hold(pick)
        hold.step += 1

        def also(session: Session) -> None:
            world.commit_model(session, hold.lease, hold.step)

        self.as_holder(hold, lambda lease: close.surely(lease, Ending(Outcome.FINISHED), 0, also))
        if hold.open:
            self.reference.committed(hold)
            self.reference.closed(hold, Outcome.FINISHED, retry=False)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY, infra=st.booleans())
    def fail(self, pick: int, infra: bool) -> None:
        hold = self.hold(pick)
        retry = infra and self.reference.retries_left(hold)
        failure = FailureClass.INFRA if infra else FailureClass.NUMERIC
        ending = Ending(Outcome.FAILED, failure=failure, error=ERROR, retry=retry)
        self.as_holder(hold, lambda lease: close.surely(lease, ending, 0))
        if hold.open:
            self.reference.closed(hold, Outcome.FAILED, retry)

    @precondition(lambda self: self.reference.holds)
    @rule(pick=ANY, dead=st.booleans())
    def leave(self, pick: int, dead: bool) -> None:
        """Its ranks are dead, or will not die."""
        hold = self.hold(pick)
        self.as_holder(hold, lambda lease: close.surely(lease, Ending(Outcome.PREEMPTED), 0, seats_end=dead))
        if hold.open:
            self.reference.closed(hold, Outcome.PREEMPTED, retry=False, seated=not dead)

    @precondition(lambda self: self.reference.jobs)
    @rule(pick=ANY, desired=st.sampled_from(sorted(VERBS)))
    def verb(self, pick: int, desired: Desired) -> None:
        job_id, job = list(self.reference.jobs.items())[pick % len(self.reference.jobs)]
        accepted = self.reference.verb(job, desired)
        try:
            with transaction() as session:
                VERBS[desired](session, self.world.project_id, job_id)
        except Conflict:
            assert not accepted
        else:
            assert accepted

    @rule(node=NODES, on=st.booleans())
    def drain(self, node: str, on: bool) -> None:
        with transaction() as session:
            nodes.drain(session, node, on=on)
        (self.reference.draining.add if on else self.reference.draining.discard)(node)

    @rule(most=st.sampled_from([None, 1, 2]))
    def limit(self, most: int | None) -> None:
        with transaction() as session:
            projects.limit(session, self.world.project, max_running=most)
        self.reference.max_running = most

    @invariant()
    def postgres_agrees(self) -> None:
        with transaction() as session:
            found = {job.id: job for job in session.scalars(select(Job))}
            held = {
                (row.job_id, row.epoch) for row in session.scalars(select(Attempt).where(Attempt.ended_at.is_(None)))
            }
            seated = {(seat.job_id, seat.epoch) for seat, _ in seats.held(session)}
            broken = breaches(session)
        assert broken == []
        assert seated == {(hold.lease.job_id, hold.lease.epoch) for hold in self.reference.holds if hold.seated}
        assert {job_id: (j.state, j.desired, j.epoch, j.retries) for job_id, j in found.items()} == {
            job_id: (j.state, j.desired, j.epoch, j.retries) for job_id, j in self.reference.jobs.items()
        }
        assert held == {(hold.lease.job_id, hold.lease.epoch) for hold in self.reference.holds if hold.open}


def run(examples: int, steps: int) -> None:
    found = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=found)  # type: ignore[no-untyped-call]


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch, service: dict[str, str]) -> None:
    """A job that was interrupted can be claimed at once; how long it backs off is another test's."""
    from core.settings import worker

    monkeypatch.setenv("PALATE_BACKOFF_SECONDS", "0")
    worker.cache_clear()


@pytest.mark.usefixtures("no_delay")
def test_postgres_does_what_the_reference_does() -> None:
    run(examples=25, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("no_delay")
def test_postgres_does_what_the_reference_does_for_long() -> None:
    run(examples=600, steps=60)
