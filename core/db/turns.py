"""Whose turn it is: priority, then the project that runs least, then age; one statement, as quick in a long queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import CTE, ColumnElement, ScalarSelect, SQLColumnExpression, func, literal_column, select, true
from sqlalchemy.orm import Session, aliased

from core.contract.states import Desired, JobState
from core.db.tables import Attempt, Job, Project

# Spelled in the statement, not sent beside it: so Postgres may keep a plan that uses the indexes of these states.
QUEUED: ColumnElement[str] = literal_column(f"'{JobState.QUEUED}'")
RUNNING: ColumnElement[str] = literal_column(f"'{JobState.RUNNING}'")
RUN: ColumnElement[str] = literal_column(f"'{Desired.RUN}'")


@dataclass(frozen=True)
class Turn:
    """A queued job, locked to the end of the transaction; `free` are the node's slots before it takes any."""

    job_id: str
    project_id: str
    epoch: int
    ranks: int
    free: int
    limited: bool


def following(
    session: Session, *, node: str, slots: int, taken: int, head_seconds: float, passed: Sequence[str] = ()
) -> Turn | None:
    """The node's row is locked by the caller. `passed`: projects that are full after all.

    A job that is larger than what is free comes only when it has waited so long that it is the head.
    """
    used = select(func.coalesce(func.sum(Attempt.slots), 0)).where(Attempt.node == node, Attempt.ended_at.is_(None))
    room = select((slots - taken - used.scalar_subquery()).label("free")).cte("room").prefix_with("MATERIALIZED")
    free = select(room.c.free).scalar_subquery()
    ready = (
        Job.state == QUEUED,
        Job.desired == RUN,
        Job.run_after <= func.now(),
        Job.ranks <= slots,
        (Job.ranks <= free) | (Job.run_after < func.now() - timedelta(seconds=head_seconds)),
    )
    projects = _in_turn(ready, passed)
    job = (
        select(Job.id, Job.project_id, Job.epoch, Job.ranks)
        .where(Job.project_id == projects.c.id, Job.priority == projects.c.priority, *ready)
        .order_by(Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
        .lateral("job")
    )
    limited = projects.c.max_running.is_not(None)
    found = session.execute(
        select(job.c.id, job.c.project_id, job.c.epoch, job.c.ranks, free, limited)
        .select_from(projects.join(job, true()))
        .limit(1)
    ).first()
    return Turn(*found) if found is not None else None


def _in_turn(ready: Sequence[ColumnElement[bool]], passed: Sequence[str]) -> CTE:
    """Projects that have a job for this node, in order; each is then asked for one that nobody has locked, until one
    is found. Materialized: else Postgres might ask all of them, lock a job of each, and sort then.
    """
    first = (
        select(Job.id, Job.priority, Job.created_at)
        .where(Job.project_id == Project.id, *ready)
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
        .correlate(Project)
        .lateral("first")
    )
    running = running_in(Project.id).label("running")
    found = (
        select(Project.id, Project.max_running, first.c.priority, running)
        .select_from(Project)
        .join(first, true())
        .where(Project.max_running.is_(None) | (running_in(Project.id) < Project.max_running))
        .order_by(first.c.priority.desc(), running, first.c.created_at, first.c.id)
    )
    found = found.where(Project.id.not_in(passed)) if passed else found
    return found.cte("in_turn").prefix_with("MATERIALIZED")


def running_in(project_id: SQLColumnExpression[str]) -> ScalarSelect[int]:
    """How many jobs of the project run: those with an open attempt, and no others."""
    other = aliased(Job)
    return (
        select(func.count())
        .select_from(other)
        .where(other.project_id == project_id, other.state == RUNNING)
        .correlate_except(other)
        .scalar_subquery()
    )
