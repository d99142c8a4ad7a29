"""Attempts: claimed under a lease, fenced by their epoch, closed once; closing decides the job's next state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, literal, select, text, update
from sqlalchemy.orm import Session

from core.contract.errors import Fenced
from core.contract.states import Desired, FailureClass, JobState, Outcome, Wish
from core.db import checkpoints, events, jobs, seats, tasks, turns
from core.db.events import NewEvent
from core.db.tables import Attempt, Job, Node, Project
from core.db.turns import Turn

# As text: a claim is quicker than SQLAlchemy builds its statements.
NODE = text("SELECT true FROM nodes WHERE name = :node AND NOT draining FOR UPDATE")


@dataclass(frozen=True)
class Lease:
    """What a holder names with every write; a write that touches no row means that it holds no more."""

    job_id: str
    epoch: int
    owner: str


@dataclass(frozen=True)
class Ending:
    """Why an attempt is over. `error` (code, message, param) is what the user is told if the job fails; `halved`
    what is told when it goes on with half the row budget after a GPU ran out of memory; `device`: which GPU failed it.
    """

    outcome: Outcome
    exit_code: int | None = None
    failure: FailureClass | None = None
    error: Mapping[str, Any] | None = None
    retry: bool = False
    delay_seconds: float = 0.0
    halved: str | None = None
    device: str | None = None


def claim(session: Session, *, node: str, owner: str, lease_seconds: float, head_seconds: float = 600) -> Lease | None:
    """The next job that fits this node's free devices, in the order of core/db/turns.py.

    A job that could start here but for the devices in use, and has waited for `head_seconds`, lets none pass it.
    """
    if not session.scalar(NODE, {"node": node}):
        return None
    full: list[str] = []
    while turn := turns.following(session, node=node, head_seconds=head_seconds, passed=full):
        if turn.ranks > len(turn.free):
            return None
        if not turn.limited or _project_has_room(session, turn.project_id):
            return _open(session, turn, node, owner, lease_seconds)
        full.append(turn.project_id)
    return None


def _project_has_room(session: Session, project_id: str) -> bool:
    """Counted under the project's lock: two nodes that claim at once must not pass max_running together."""
    limited = select(Project.max_running).where(Project.id == project_id, Project.max_running.is_not(None))
    most = session.scalar(limited.with_for_update())
    return most is None or (session.scalar(select(turns.running_in(literal(project_id)))) or 0) < most


def _open(session: Session, turn: Turn, node: str, owner: str, lease_seconds: float) -> Lease:
    epoch = turn.epoch + 1
    again = f" (attempt {epoch})" if epoch > 1 else ""
    event = NewEvent(f"Fine-tuning job started on {node}{again}.", data={"attempt": epoch, "node": node})
    jobs.enter(session, turn.job_id, JobState.RUNNING, event, epoch=epoch)
    named = {"job_id": turn.job_id, "epoch": epoch, "node": node, "owner": owner}
    session.execute(seats.OPEN, {**named, "devices": turn.free[: turn.ranks], "lease_seconds": lease_seconds})
    return Lease(turn.job_id, epoch, owner)


def wait(session: Session) -> bool:
    """Whether a job could be claimed now, by a node with room for it."""
    ready = exists().where(Job.state == JobState.QUEUED, Job.desired == Desired.RUN, Job.run_after <= func.now())
    return bool(session.scalar(select(ready)))


def retries_of(session: Session, lease: Lease) -> int:
    """Attempts in a row, before this one, that committed nothing."""
    return session.scalars(select(Job.retries).where(Job.id == lease.job_id)).one()


def hold(session: Session, lease: Lease, lease_seconds: float, **values: Any) -> Wish:
    """Renews the lease and locks the attempt to the end of the transaction; what is wanted of the holder comes back.

    Raises Fenced when the attempt is closed: write nothing then, and leave.
    """
    draining = select(Node.draining).where(Node.name == Attempt.node).scalar_subquery()
    held = session.execute(
        update(Attempt)
        .where(
            Attempt.job_id == lease.job_id,
            Attempt.epoch == lease.epoch,
            Attempt.owner == lease.owner,
            Attempt.ended_at.is_(None),
            Job.id == Attempt.job_id,
        )
        .values(lease_until=func.now() + timedelta(seconds=lease_seconds), **values)
        .returning(Job.desired, draining)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if held is None:
        raise Fenced(f"Attempt {lease.epoch} of {lease.job_id} is no longer held.")
    desired, leaves = held
    return Wish.LEAVE if leaves and desired == Desired.RUN else Wish(desired)


def check(session: Session, lease: Lease) -> None:
    """Raises Fenced when the attempt is closed; the lease stays as it is."""
    held = session.scalar(
        select(Attempt.epoch)
        .where(
            Attempt.job_id == lease.job_id,
            Attempt.epoch == lease.epoch,
            Attempt.owner == lease.owner,
            Attempt.ended_at.is_(None),
        )
        .with_for_update(read=True)
    )
    if held is None:
        raise Fenced(f"Attempt {lease.epoch} of {lease.job_id} is no longer held.")


def close(session: Session, lease: Lease, ending: Ending, *, seats_end: bool = True) -> JobState:
    """Ends the attempt and derives the job's state from the outcome and the user's wish, in this transaction.

    `seats_end`: nothing of it lives any more; else its devices stay in use until its node, or the sweeper, has seen to
    that. What it left in the store without a row is collected later.
    """
    job = jobs.locked(session, lease.job_id)
    hold(session, lease, 0)
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == lease.job_id, Attempt.epoch == lease.epoch)
        .values(
            ended_at=func.now(),
            outcome=ending.outcome,
            failure_class=ending.failure,
            exit_code=ending.exit_code,
            detail=(ending.error or {}).get("message"),
        )
    )
    if ending.device is not None:
        seats.failed(session, lease.job_id, lease.epoch, ending.device)
    if seats_end:
        seats.end(session, lease.job_id, lease.epoch)
    tasks.collect(session, f"{lease.job_id}/a{lease.epoch}", job_id=lease.job_id, epoch=lease.epoch)
    if ending.outcome == Outcome.FINISHED:
        event = NewEvent("The job has successfully completed.", data={"model": job.fine_tuned_model})
        jobs.move(session, job, JobState.SUCCEEDED, event)
    elif job.desired == Desired.CANCEL:
        jobs.move(session, job, JobState.CANCELLED, NewEvent("Job cancelled."))
    elif job.desired == Desired.PAUSE and (ending.outcome != Outcome.FAILED or ending.retry):
        halved = ending.halved is not None
        event = NewEvent("Job paused; resume it, and it goes on from its last resume point.")
        jobs.move(session, job, JobState.PAUSED, event, phase=None, halvings=job.halvings + halved)
    elif ending.outcome in (Outcome.PREEMPTED, Outcome.STOPPED):
        event = NewEvent("The run was stopped; the job goes on from its last resume point.", level="warn")
        jobs.requeue(session, job, event, delay_seconds=0, retries=job.retries)
    elif ending.retry and ending.halved is not None:
        data = {"type": "row_budget_halved", "attempt": lease.epoch}
        event = NewEvent(ending.halved, level="warn", data=data)
        jobs.requeue(session, job, event, delay_seconds=0, retries=job.retries, halvings=job.halvings + 1)
    elif ending.retry:
        event = NewEvent(
            f"Attempt {lease.epoch} was interrupted ({(ending.error or {}).get('message', 'lost')}); "
            "the job goes on from its last resume point.",
            level="warn",
            data={"type": "attempt_lost", "attempt": lease.epoch},
        )
        jobs.requeue(session, job, event, delay_seconds=ending.delay_seconds, retries=job.retries + 1)
    else:
        error = ending.error or {"code": "internal_error", "message": "The run ended without a reason."}
        tell_what_is_kept(session, job, error, refused=ending.failure == FailureClass.REFUSED)
        jobs.fail(session, job, code=error["code"], message=error["message"], param=error.get("param"))
    return JobState(job.state)


def tell_what_is_kept(session: Session, job: Job, error: Mapping[str, Any], *, refused: bool) -> None:
    """Of a job that fails: the newest model that it leaves, and how to fetch it; of one that was refused, also that
    there is none.
    """
    newest, step = checkpoints.newest(session, job.id), (job.progress or {}).get("step") or 0
    data = {"type": "kept", "code": error["code"], "step": step}
    if newest is not None:
        checkpoint, model = newest
        told = {0: "refused", 1: "verified"}.get(checkpoint.metrics.get(checkpoints.VERIFIED, -1), "not verified")
        data |= {"step": checkpoint.step, "model": model.name, "verified": told}
        what = f"The model of step {checkpoint.step} ({told}) is kept as {model.name}"
        message = f"{what}: `palate pull {model.name} DIR` fetches it."
    elif refused:
        trained = f"Of its {step} steps no checkpoint was stored" if step else "No step was trained"
        message = f"{trained}: there is no model to keep."
    else:
        return
    events.append(session, job.id, NewEvent(f"{error['message']} {message}", level="warn", data=data))


def expired(session: Session, grace_seconds: float, limit: int = 20) -> list[Lease]:
    """Open attempts whose lease ran out `grace_seconds` ago."""
    rows = session.scalars(
        select(Attempt)
        .where(Attempt.ended_at.is_(None), Attempt.lease_until + timedelta(seconds=grace_seconds) < func.now())
        .order_by(Attempt.lease_until)
        .limit(limit)
    )
    return [Lease(a.job_id, a.epoch, a.owner) for a in rows]


def take_over(session: Session, lease: Lease, ending: Ending, grace_seconds: float) -> JobState:
    """Closes an expired attempt for its holder; raises Fenced when it was renewed or closed meanwhile.

    Its ranks may live yet: its seats stay open.
    """
    jobs.locked(session, lease.job_id)
    lapsed = session.scalar(
        select(Attempt.epoch)
        .where(
            Attempt.job_id == lease.job_id,
            Attempt.epoch == lease.epoch,
            Attempt.ended_at.is_(None),
            Attempt.lease_until + timedelta(seconds=grace_seconds) < func.now(),
        )
        .with_for_update()
    )
    if lapsed is None:
        raise Fenced(f"Attempt {lease.epoch} of {lease.job_id} has not lapsed any more.")
    return close(session, lease, ending, seats_end=False)


def seconds_held(session: Session, job_id: str) -> float:
    """How long the job's attempts held their slots, all together, up to now."""
    held = func.coalesce(Attempt.ended_at, func.now()) - Attempt.started_at
    return float(session.scalar(select(func.extract("epoch", func.sum(held))).where(Attempt.job_id == job_id)) or 0)


def furthest_step(session: Session, job_id: str) -> int:
    """The last step that an ended attempt is known to have done."""
    ended = (Attempt.job_id == job_id, Attempt.ended_at.is_not(None))
    return session.scalar(select(func.max(Attempt.step)).where(*ended)) or 0


def node_silent(session: Session, lease: Lease, seconds: float) -> bool:
    """Whether nothing was heard of the attempt's node for so long."""
    pair = select(Attempt.epoch).join(Node, Node.name == Attempt.node)
    here = pair.where(Attempt.job_id == lease.job_id, Attempt.epoch == lease.epoch)
    return session.scalar(here.where(Node.seen_at < func.now() - timedelta(seconds=seconds))) is not None


def nodes_killed(session: Session, lease: Lease) -> set[str]:
    """Nodes that fell silent under this job since it last committed something, this attempt's among them."""
    since = select(Job.epoch - Job.retries).where(Job.id == lease.job_id).scalar_subquery()
    silent = (Attempt.outcome == Outcome.LOST) | (Attempt.epoch == lease.epoch)
    rows = select(Attempt.node).where(Attempt.job_id == lease.job_id, Attempt.epoch >= since, silent)
    return set(session.scalars(rows.distinct()))


def is_open(session: Session, job_id: str, epoch: int) -> bool:
    found = session.get(Attempt, (job_id, epoch))
    return found is not None and found.ended_at is None


def open_on(session: Session, node: str) -> Sequence[Lease]:
    rows = session.scalars(select(Attempt).where(Attempt.node == node, Attempt.ended_at.is_(None)))
    return [Lease(a.job_id, a.epoch, a.owner) for a in rows]


def of_owner(session: Session, owner: str) -> Lease | None:
    """The open attempt that was claimed under this name."""
    a = session.scalar(select(Attempt).where(Attempt.owner == owner, Attempt.ended_at.is_(None)))
    return Lease(a.job_id, a.epoch, a.owner) if a is not None else None


def newest(session: Session, job_id: str) -> Attempt | None:
    return session.scalar(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch.desc()).limit(1))
