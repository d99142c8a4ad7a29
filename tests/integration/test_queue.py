"""Who goes first, who has to wait and why: the head rule, a project's limits, jobs that no node can take."""

from datetime import timedelta

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.exc import OperationalError

from core.contract.errors import QuotaExceeded
from core.contract.job_spec import JobSpec
from core.contract.states import FailureClass, JobState, Outcome
from core.db import attempts, events, jobs, nodes, projects, standings, submit
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.tables import Attempt, Job, Node, Project
from tests.rows import make_job
from worker import claim


def queued(session: Session, ranks: int = 1, **values: object) -> Job:
    """`created_at`: those of one transaction are of different age too."""
    return make_job(session, state=JobState.QUEUED, ranks=ranks, created_at=func.clock_timestamp(), **values)


def take(session: Session, node: str = "n1") -> str | None:
    lease = attempts.claim(session, node=node, owner="o", lease_seconds=60, head_seconds=600)
    return lease.job_id if lease else None


def reason(session: Session, job: Job) -> str | None:
    return standings.of(session, [job])[job.id].reason


@pytest.fixture(autouse=True)
def node(service: dict[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 2, 2)


def test_a_small_job_passes_a_large_one_that_came_a_moment_ago() -> None:
    with transaction() as session:
        assert take(session) is None
        first, large, small = queued(session), queued(session, ranks=2), queued(session)
        assert take(session) == first.id
        assert take(session) == small.id
        assert reason(session, large) == "waiting_for_slots"


def test_a_large_job_that_waited_long_lets_none_pass() -> None:
    with transaction() as session:
        first = queued(session)
        assert take(session) == first.id
        large = queued(session, ranks=2, run_after=func.now() - timedelta(seconds=601))
        urgent, small = queued(session, project_id=large.project_id, priority=1), queued(session)
        assert take(session) == urgent.id, "the head is the first in the order, not the oldest"
        attempts.close(session, Lease(urgent.id, 1, "o"), Ending(Outcome.FINISHED))
        assert take(session) is None, "the free slot is kept for the large one"
        attempts.close(session, Lease(first.id, 1, "o"), Ending(Outcome.FINISHED))
        assert take(session) == large.id
        assert take(session) is None
        attempts.close(session, Lease(large.id, 1, "o"), Ending(Outcome.FINISHED))
        assert take(session) == small.id


def test_a_drained_node_claims_nothing() -> None:
    with transaction() as session:
        job = queued(session)
        nodes.drain(session, "n1")
        assert take(session) is None
        nodes.drain(session, "n1", on=False)
        assert take(session) == job.id


def test_a_large_job_holds_back_no_node_that_it_could_never_use() -> None:
    with transaction() as session:
        nodes.seen(session, "n2", 1, 1)
        queued(session, ranks=2, run_after=func.now() - timedelta(seconds=601))
        small = queued(session)
        assert take(session, "n2") == small.id


def test_a_project_runs_no_more_than_it_may() -> None:
    with transaction() as session:
        first = queued(session)
        project = session.get_one(Project, first.project_id)
        projects.limit(session, project.name, max_running=1)
        second = queued(session, project_id=project.id)
        other = queued(session)
        assert take(session) == first.id
        assert reason(session, second) == "project_at_max_running"
        assert take(session) == other.id, "a project at its limit holds nobody back"
        nodes.seen(session, "n1", 3, 2)
        assert take(session) is None
        attempts.close(session, Lease(first.id, 1, "o"), Ending(Outcome.FINISHED))
        assert take(session) == second.id


def test_two_nodes_that_claim_at_once_do_not_pass_the_limit_together() -> None:
    with transaction() as session:
        nodes.seen(session, "n2", 2, 2)
        first = queued(session)
        queued(session, project_id=first.project_id)
        projects.limit(session, session.get_one(Project, first.project_id).name, max_running=1)
    with transaction() as one:
        assert take(one, "n1") == first.id
        with transaction() as other:
            other.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                take(other, "n2")
            other.rollback()
    with transaction() as session:
        assert take(session, "n2") is None


def test_a_project_waits_with_no_more_than_it_may() -> None:
    with transaction() as session:
        first = queued(session)
        name = session.get_one(Project, first.project_id).name
        projects.limit(session, name, max_queued=1)
        with pytest.raises(QuotaExceeded) as refused:
            submit.has_room(session, first.project_id)
        assert refused.value.code == "max_queued_reached"
        assert take(session) == first.id
        submit.has_room(session, first.project_id)
        queued(session, project_id=first.project_id)
        projects.limit(session, name, max_queued=None)
        submit.has_room(session, first.project_id)


def test_a_job_larger_than_every_node_waits_and_says_so_once() -> None:
    with transaction() as session:
        job = queued(session, ranks=3)
        for _ in range(2):
            standings.tell_too_large(session)
        assert reason(session, job) == "no_node_large_enough"
        said = [event for event in events.page(session, job.id, None, 10)[0] if event.level == "warn"]
        assert len(said) == 1
        assert "3 slots" in said[0].message
        assert take(session) is None
        nodes.seen(session, "n2", 4, 2)
        assert reason(session, job) == "waiting_for_slots"
        assert take(session, "n2") == job.id


def test_a_node_not_seen_for_a_day_is_no_hope() -> None:
    with transaction() as session:
        nodes.seen(session, "n2", 4, 2)
        session.execute(update(Node).where(Node.name == "n2").values(seen_at=func.now() - timedelta(hours=25)))
        assert reason(session, queued(session, ranks=3)) == "no_node_large_enough"


def test_a_postponed_job_says_that_it_backs_off() -> None:
    with transaction() as session:
        job = queued(session, run_after=func.now() + timedelta(seconds=60))
        assert reason(session, job) == "backing_off"
        assert take(session) is None


def silent_attempt(session: Session, job_id: str, node: str) -> Lease:
    """A claim on a node of which nothing is heard any more; its lease ran out."""
    nodes.seen(session, node, 4, 2)
    lease = attempts.claim(session, node=node, owner="o", lease_seconds=-10)
    assert lease is not None
    assert lease.job_id == job_id
    session.execute(update(Node).where(Node.name == node).values(seen_at=func.now() - timedelta(seconds=60)))
    return lease


def postponed_no_more(session: Session, job_id: str) -> None:
    session.execute(update(Job).where(Job.id == job_id).values(run_after=func.now()))


@pytest.mark.parametrize(
    ("reachable", "second", "committed", "quarantined"),
    [
        (True, "b", False, True),
        (True, "a", False, False),
        (True, "b", True, False),
        (False, "b", False, False),
    ],
)
def test_a_job_under_which_two_nodes_fell_silent_is_quarantined(
    reachable: bool, second: str, committed: bool, quarantined: bool
) -> None:
    with transaction() as session:
        job = queued(session)
        lease = silent_attempt(session, job.id, "a")
    claim.lapsed(lease, 5, reachable=reachable)
    with transaction() as session:
        if committed:
            session.execute(update(Job).where(Job.id == job.id).values(retries=0))
        postponed_no_more(session, job.id)
        assert jobs.locked(session, job.id).state == JobState.QUEUED
        lease = silent_attempt(session, job.id, second)
    claim.lapsed(lease, 5, reachable=reachable)
    with transaction() as session:
        job = jobs.locked(session, job.id)
        assert job.state == (JobState.FAILED if quarantined else JobState.QUEUED)
        assert (job.error or {}).get("code") == ("quarantined" if quarantined else None)
        last = session.get_one(Attempt, (job.id, 2))
        assert last.failure_class == (FailureClass.POISON if quarantined else FailureClass.INFRA)


def test_a_node_that_was_heard_of_killed_nothing() -> None:
    with transaction() as session:
        job = queued(session)
        lease = silent_attempt(session, job.id, "a")
        nodes.seen(session, "a", 4, 2)
    claim.lapsed(lease, 5, reachable=True)
    with transaction() as session:
        assert session.get_one(Attempt, (job.id, 1)).outcome == Outcome.FAILED


def test_creating_one_job_too_many_is_refused(service: dict[str, str]) -> None:
    with transaction() as session:
        first = queued(session)
        projects.limit(session, session.get_one(Project, first.project_id).name, max_queued=1)
    spec = JobSpec(model="base", training_file=first.training_file)
    with pytest.raises(QuotaExceeded), transaction() as session:
        submit.create(session, project_id=first.project_id, key_id="k", spec=spec, body_sha256="b")
    with transaction() as session:
        assert not jobs.page(session, first.project_id, None, 10)[1]
        assert [job.id for job in jobs.page(session, first.project_id, None, 10)[0]] == [first.id]


def test_the_project_that_runs_least_goes_first() -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 4, 2)
        first = queued(session)
        second, third = queued(session, project_id=first.project_id), queued(session, project_id=first.project_id)
        other = queued(session)
        urgent = queued(session, project_id=first.project_id, priority=1)
        order = [take(session) for _ in range(4)]
        assert order == [other.id, urgent.id, first.id, second.id]
        attempts.close(session, Lease(other.id, 1, "o"), Ending(Outcome.FINISHED))
        assert take(session) == third.id


def test_priority_counts_inside_a_project_only() -> None:
    """Or any key could put all its jobs before those of everybody else."""
    with transaction() as session:
        modest = queued(session)
        pushing = [queued(session, priority=100)]
        pushing += [queued(session, project_id=pushing[0].project_id, priority=100) for _ in range(2)]
        last = queued(session, project_id=modest.project_id)
        urgent = queued(session, project_id=modest.project_id, priority=1)
        nodes.seen(session, "n1", 6, 2)
        order = [take(session) for _ in range(6)]
        in_turn = [pushing[0], urgent, modest, pushing[1], pushing[2], last]
        assert order == [job.id for job in in_turn]


def test_a_position_counts_the_own_project_alone() -> None:
    """Nor does it tell how many jobs others have waiting."""
    with transaction() as session:
        for _ in range(3):
            queued(session, priority=5)
        first = queued(session)
        second = queued(session, project_id=first.project_id)
        urgent = queued(session, project_id=first.project_id, priority=1)
        other = queued(session)
        places = {job.id: each for each, job in enumerate((urgent, first, second), 1)} | {other.id: 1}
        each_alone = {job.id: standings.of(session, [job])[job.id].position for job in (first, second, urgent, other)}
        together = standings.of(session, [first, second, urgent, other])
        assert each_alone == places
        assert {job_id: standing.position for job_id, standing in together.items()} == places
