"""Where jobs stand beside their own rows: the newest attempt, the place in the queue. Two queries for any number."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core.contract.states import JobState
from core.db.tables import Attempt, Job


@dataclass(frozen=True)
class Standing:
    """`position` from 1, for a queued job."""

    attempt: Attempt | None
    position: int | None


def of(session: Session, jobs: Sequence[Job]) -> dict[str, Standing]:
    tried = [job.id for job in jobs if job.epoch]
    queued = [job.id for job in jobs if job.state == JobState.QUEUED]
    attempts = newest_attempts(session, tried) if tried else {}
    places = positions(session, queued) if queued else {}
    return {job.id: Standing(attempts.get(job.id), places.get(job.id)) for job in jobs}


def newest_attempts(session: Session, job_ids: Sequence[str]) -> dict[str, Attempt]:
    rows = session.scalars(
        select(Attempt)
        .where(Attempt.job_id.in_(job_ids))
        .ext(distinct_on(Attempt.job_id))
        .order_by(Attempt.job_id, Attempt.epoch.desc())
    )
    return {row.job_id: row for row in rows}


def positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """In the order of claiming, but for the projects' shares."""
    place = func.row_number().over(order_by=(Job.priority.desc(), Job.created_at, Job.id)).label("place")
    queue = select(Job.id, place).where(Job.state == JobState.QUEUED).subquery()
    rows = session.execute(select(queue.c.id, queue.c.place).where(queue.c.id.in_(job_ids)))
    return {row.id: row.place for row in rows}
