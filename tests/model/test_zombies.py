"""Holders by the thousand that were given up and do not know it: none of their writes is accepted."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from core.contract.errors import Fenced
from core.contract.states import JobState, Outcome
from core.db import attempts, jobs, nodes
from core.db.attempts import Ending, Lease
from core.db.engine import transaction
from core.db.tables import Attempt, ResumePoint
from tests.model import world

ZOMBIES = 1000
LOST = Ending(Outcome.LOST, error={"code": "attempt_lost", "message": "not heard of", "param": None}, retry=True)


def test_a_thousand_zombies_commit_nothing(service: dict[str, str]) -> None:
    job_id = world.empty().create("zombies", 1)
    leases: list[Lease] = []
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
    for _ in range(ZOMBIES + 1):
        with transaction() as session:
            if leases:
                attempts.close(session, leases[-1], LOST)
        with transaction() as session:
            lease = attempts.claim(session, node="n1", owner=f"owner {len(leases)}", lease_seconds=3600)
            assert lease is not None
            leases.append(lease)
    *zombies, holder = leases

    def stale_writes(lease: Lease) -> int:
        """How many of a holder's writes are accepted: progress, a resume point, its end."""
        accepted = 0
        for write in (renew, resume_point, end):
            try:
                write(lease)
                accepted += 1
            except Fenced:
                continue
        return accepted

    with ThreadPoolExecutor(4) as pool:
        accepted = list(pool.map(stale_writes, zombies))
    assert sum(accepted) == 0
    with transaction() as session:
        assert session.scalars(select(ResumePoint)).all() == []
        open_ones = session.scalars(select(Attempt).where(Attempt.ended_at.is_(None))).all()
        assert [row.epoch for row in open_ones] == [ZOMBIES + 1]
        assert jobs.locked(session, job_id).state == JobState.RUNNING
    assert stale_writes(holder) == 3


def renew(lease: Lease) -> None:
    with transaction() as session:
        attempts.hold(session, lease, 60, step=1)


def resume_point(lease: Lease) -> None:
    world.commit_resume_point(lease, lease.epoch)


def end(lease: Lease) -> None:
    with transaction() as session:
        attempts.check(session, lease)
        world.commit_model(session, lease, lease.epoch)
        attempts.close(session, lease, Ending(Outcome.FINISHED))
