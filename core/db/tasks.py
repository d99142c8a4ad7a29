"""Tasks: work without a GPU, as rows; claimed, leased, fenced and swept like attempts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import ids, settings
from core.contract.errors import Fenced
from core.contract.states import TaskKind, TaskState
from core.db.tables import Node, Task

MAX_LOSSES = 3
MAX_TRIES = 100
# What a later release adds is left to its own workers, also when one of them died with it.
KNOWN = Task.kind.in_(list(TaskKind))
RUNNING = (Task.state == TaskState.RUNNING) & KNOWN
# As core.db.turns: of each project its first task, unlocked; then, of the projects in turn, the first that nobody has
# locked. Where there is but one project it has nobody to leave a slot to.
READY = "t.project_id = {} AND t.state = 'queued' AND t.run_after <= now() AND t.kind = ANY (CAST(:kinds AS text[]))"
FOLLOWING = text(f"""
WITH whose AS MATERIALIZED (
    SELECT id, (SELECT count(*) FROM projects) AS projects FROM projects UNION ALL SELECT '', 1
), in_turn AS MATERIALIZED (
    SELECT whose.id
    FROM whose
    CROSS JOIN LATERAL (
        SELECT t.number FROM tasks t WHERE {READY.format("whose.id")} ORDER BY t.number LIMIT 1
    ) first
    CROSS JOIN LATERAL (
        SELECT count(*) AS everywhere, count(*) FILTER (WHERE t.node = :node) AS here
        FROM tasks t WHERE t.project_id = whose.id AND t.state = 'running'
    ) running
    CROSS JOIN LATERAL (SELECT max(t.claimed_at) AS at FROM tasks t WHERE t.project_id = whose.id) served
    WHERE running.here < :share OR whose.projects = 1
    ORDER BY running.everywhere, served.at NULLS FIRST, first.number
)
SELECT task.id
FROM in_turn
CROSS JOIN LATERAL (
    SELECT t.id FROM tasks t WHERE {READY.format("in_turn.id")} ORDER BY t.number LIMIT 1
    FOR UPDATE SKIP LOCKED
) task
LIMIT 1
""")

__all__ = [
    "MAX_LOSSES",
    "TaskClaim",
    "TaskKind",
    "add",
    "claim",
    "collect",
    "deletes",
    "deleting",
    "expired",
    "finish",
    "get",
    "hold",
    "live",
    "lose",
    "running_on",
]


@dataclass(frozen=True)
class TaskClaim:
    """What a holder must name with every write."""

    id: str
    epoch: int
    owner: str
    kind: TaskKind
    subject: str


def add(
    session: Session,
    *,
    kind: TaskKind,
    subject: str,
    payload: dict[str, Any] | None = None,
    after_seconds: float = 0,
    project_id: str = "",
) -> None:
    """Adds the task, unless a live one of this kind and subject is there already. `project_id`: whose share of the
    slots it takes; empty: the service's own."""
    session.execute(
        insert(Task)
        .values(
            id=ids.row_id(),
            kind=kind,
            subject=subject,
            project_id=project_id,
            payload=payload or {},
            state=TaskState.QUEUED,
            run_after=func.now() + timedelta(seconds=after_seconds),
        )
        .on_conflict_do_nothing()
    )


def get(session: Session, task_id: str) -> Task | None:
    return session.get(Task, task_id)


def collect(session: Session, subject: str, **payload: Any) -> None:
    """Of an attempt or of canonical records, later: what no row names by then goes from the store."""
    own = settings.worker()
    later = own.scaled(own.orphan_seconds)
    add(session, kind=TaskKind.COLLECT_ORPHANS, subject=subject, payload=payload, after_seconds=later)


def live(session: Session) -> int:
    """How many tasks run, or may."""
    due = (Task.state == TaskState.QUEUED) & (Task.run_after <= func.now())
    return session.scalar(select(func.count()).where((Task.state == TaskState.RUNNING) | due)) or 0


def claim(session: Session, *, node: str, owner: str, lease_seconds: float) -> TaskClaim | None:
    """The next task that may run, if this node has a free place for one; None when there is nothing to do.

    Projects take turns: who runs fewest tasks goes first, then who was served longest ago; inside a project by age. A
    project leaves one slot of each node free for others, for what runs is not interrupted when they come.
    """
    slots = session.scalar(select(Node.task_slots).where(Node.name == node, ~Node.draining).with_for_update())
    used = session.scalar(select(func.count()).where(Task.node == node, RUNNING)) or 0
    if slots is None or used >= slots:
        return None
    values = {"node": node, "share": max(1, slots - 1), "kinds": [*TaskKind]}
    task_id = session.scalar(FOLLOWING, values)
    if task_id is None:
        return None
    task = session.get_one(Task, task_id)
    session.refresh(task)
    task.claimed_at = func.clock_timestamp()
    task.state = TaskState.RUNNING
    task.epoch += 1
    task.node, task.owner = node, owner
    session.flush()
    session.execute(
        update(Task).where(Task.id == task.id).values(lease_until=func.now() + timedelta(seconds=lease_seconds))
    )
    return TaskClaim(task.id, task.epoch, owner, TaskKind(task.kind), task.subject)


def hold(session: Session, claim: TaskClaim, lease_seconds: float) -> None:
    """Renews the lease; raises Fenced when it is another's by now."""
    held = session.execute(
        update(Task)
        .where(
            Task.id == claim.id,
            Task.epoch == claim.epoch,
            Task.owner == claim.owner,
            Task.state == TaskState.RUNNING,
        )
        .values(lease_until=func.now() + timedelta(seconds=lease_seconds))
        .returning(Task.id)
    ).scalar_one_or_none()
    if held is None:
        raise Fenced(f"Task {claim.id} is no longer held by {claim.owner}.")


def deletes(session: Session, claim: TaskClaim, digest: str) -> None:
    """Written before the store is asked: until this task is over nobody may count on these canonical records."""
    own = settings.worker()
    hold(session, claim, own.scaled(own.task_lease_seconds))
    marked = Task.payload.op("||")(func.jsonb_build_object("deletes", digest))
    session.execute(update(Task).where(Task.id == claim.id).values(payload=marked))


def deleting(session: Session, digest: str) -> bool:
    """Whether a task, alive or to be tried again, is at deleting these canonical records."""
    alive = Task.state.in_([TaskState.QUEUED, TaskState.RUNNING])
    return bool(session.scalar(select(exists().where(alive, Task.payload["deletes"].astext == digest))))


def finish(session: Session, claim: TaskClaim) -> None:
    """In the transaction that writes the task's result."""
    hold(session, claim, 0)
    session.execute(update(Task).where(Task.id == claim.id).values(state=TaskState.DONE, lease_until=None))


def expired(session: Session, grace_seconds: float, limit: int = 20) -> list[TaskClaim]:
    """Running tasks whose lease ran out, locked for this transaction."""
    rows = session.scalars(
        select(Task)
        .where(RUNNING, Task.lease_until + timedelta(seconds=grace_seconds) < func.now())
        .order_by(Task.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [TaskClaim(t.id, t.epoch, t.owner or "", TaskKind(t.kind), t.subject) for t in rows]


def running_on(session: Session, node: str) -> list[TaskClaim]:
    rows = session.scalars(select(Task).where(Task.node == node, RUNNING))
    return [TaskClaim(t.id, t.epoch, t.owner or "", TaskKind(t.kind), t.subject) for t in rows]


def lose(session: Session, claim: TaskClaim, reason: str, retry_seconds: float, *, its_own: bool = True) -> bool:
    """The holder died or gave up: queued again, or failed for good at the third loss (then True).

    A loss that is not the task's own doing (the database or the store was away) does not count, up to MAX_TRIES claims.
    """
    hold(session, claim, 0)
    counts = its_own or claim.epoch >= MAX_TRIES
    losses = session.execute(
        update(Task)
        .where(Task.id == claim.id)
        .values(losses=Task.losses + int(counts), error=reason)
        .returning(Task.losses)
    ).scalar_one()
    last = counts and (losses >= MAX_LOSSES or claim.epoch >= MAX_TRIES)
    session.execute(
        update(Task)
        .where(Task.id == claim.id)
        .values(
            state=TaskState.FAILED if last else TaskState.QUEUED,
            node=None,
            lease_until=None,
            run_after=func.now() + timedelta(seconds=retry_seconds),
        )
    )
    return last
