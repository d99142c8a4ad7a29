"""Where jobs stand beside their own rows: the newest attempt, the place in the queue, why it waits.

A handful of queries for any number of jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Label, Select, bindparam, case, exists, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from core.contract.states import Desired, JobState
from core.db import events, nodes, turns
from core.db.events import NewEvent
from core.db.tables import Attempt, Event, Job, Project

TOO_LARGE = "no_node_large_enough"
# Written out, so that a plan made once may use the index of the queue.
IN_LINE = literal(JobState.QUEUED.value, literal_execute=True)


@dataclass(frozen=True)
class Standing:
    """`position` from 1 among the queued jobs of its own project, in the order of claiming, and `reason`; for a queued
    job. How long the lines of other projects are is theirs alone, and moves no job of this one within its own."""

    attempt: Attempt | None
    position: int | None
    reason: str | None = None


def of(session: Session, jobs: Sequence[Job]) -> dict[str, Standing]:
    tried = [job.id for job in jobs if job.epoch]
    queued = [job.id for job in jobs if job.state == JobState.QUEUED]
    newest = {row.job_id: row for row in session.scalars(newest_attempts(), {"ids": tried})} if tried else {}
    statement = first_in_line() if len(queued) == 1 else all_in_line()
    waits = {row.id: row for row in session.execute(statement, {"ids": queued})} if queued else {}
    return {
        job.id: Standing(newest.get(job.id), each.place, each.reason)
        if (each := waits.get(job.id))
        else Standing(newest.get(job.id), None)
        for job in jobs
    }


# Statements of `ids`, made once.


@cache
def newest_attempts() -> Select[Attempt]:
    return (
        select(Attempt)
        .where(Attempt.job_id.in_(bindparam("ids", expanding=True)))
        .ext(distinct_on(Attempt.job_id))
        .order_by(Attempt.job_id, Attempt.epoch.desc())
    )


@cache
def first_in_line() -> Select[str, int, str]:
    """One job's place in its project's line is counted: two ranges of an index."""
    other = aliased(Job)
    of_project = (other.project_id == Job.project_id) & (other.state == IN_LINE)
    queued = select(func.count()).select_from(other).where(of_project).correlate(Job)
    more = queued.where(other.priority > Job.priority)
    same = queued.where(
        other.priority == Job.priority, tuple_(other.created_at, other.id) <= tuple_(Job.created_at, Job.id)
    )
    place = (more.scalar_subquery() + same.scalar_subquery()).label("place")
    asked = select(Job.id, place, reason()).join(Project).where(Job.id.in_(bindparam("ids", expanding=True)))
    return asked.where(Job.state == IN_LINE)


@cache
def all_in_line() -> Select[str, int, str]:
    """The places of many jobs, of one project or of several, are numbered in one go."""
    order = (Job.priority.desc(), Job.created_at, Job.id)
    place = func.row_number().over(partition_by=Job.project_id, order_by=order).label("place")
    other = aliased(Job)
    asked = select(other.project_id).where(other.id.in_(bindparam("ids", expanding=True)))
    line = select(Job.id, place).where(Job.state == IN_LINE, Job.project_id.in_(asked)).subquery()
    joined = select(Job.id, line.c.place, reason()).join(Project).join(line, line.c.id == Job.id)
    return joined.where(Job.id.in_(bindparam("ids", expanding=True)))


def reason() -> Label[str]:
    """Why a queued job has not started: the first of these that holds. Where there is no limit, nothing is counted."""
    running = turns.running_in(Job.project_id)
    return case(
        (Job.ranks > nodes.largest_slots(), TOO_LARGE),
        (Job.run_after > func.now(), "backing_off"),
        (Project.max_running.is_not(None) & (Project.max_running <= running), "project_at_max_running"),
        else_="waiting_for_slots",
    ).label("reason")


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
