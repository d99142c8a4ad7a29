"""Where jobs stand beside their own rows: the newest attempt, the place in the queue, why it waits.

A handful of queries for any number of jobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, exists, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core.contract.states import Desired, JobState
from core.db import events, nodes, turns
from core.db.events import NewEvent
from core.db.tables import Attempt, Event, Job, Project

TOO_LARGE = "no_node_large_enough"


@dataclass(frozen=True)
class Standing:
    """`position` from 1 and `reason`, for a queued job."""

    attempt: Attempt | None
    position: int | None
    reason: str | None = None


def of(session: Session, jobs: Sequence[Job]) -> dict[str, Standing]:
    tried = [job.id for job in jobs if job.epoch]
    queued = [job.id for job in jobs if job.state == JobState.QUEUED]
    attempts = newest_attempts(session, tried) if tried else {}
    places = positions(session, queued) if queued else {}
    why = reasons(session, queued) if queued else {}
    return {job.id: Standing(attempts.get(job.id), places.get(job.id), why.get(job.id)) for job in jobs}


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


def reasons(session: Session, job_ids: Sequence[str]) -> Mapping[str, str]:
    """Why a queued job has not started: the first of these that holds."""
    running = turns.running_in(Job.project_id)
    reason = case(
        (Job.ranks > nodes.largest(session), TOO_LARGE),
        (Job.run_after > func.now(), "backing_off"),
        (Project.max_running <= running, "project_at_max_running"),
        else_="waiting_for_slots",
    ).label("reason")
    rows = session.execute(select(Job.id, reason).join(Project).where(Job.id.in_(job_ids)))
    return {row.id: row.reason for row in rows}


def tell_too_large(session: Session, limit: int = 100) -> None:
    """One warning for each queued job that no node could take."""
    largest = nodes.largest(session)
    told = exists().where(Event.job_id == Job.id, Event.data["type"].astext == TOO_LARGE)
    waits = select(Job).where(Job.state == JobState.QUEUED, Job.desired == Desired.RUN, Job.ranks > largest, ~told)
    for job in session.scalars(waits.limit(limit).with_for_update(skip_locked=True)):
        message = (
            f"No node has {job.ranks} slots (palate.resources.gpus); the largest seen within a day has {largest}. "
            "The job waits for one."
        )
        events.append(session, job.id, NewEvent(message, level="warn", data={"type": TOO_LARGE}))
