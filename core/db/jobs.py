"""Jobs: reading them, and the one gate through which each of their states changes."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select, tuple_, update
from sqlalchemy.orm import Session

from core.contract.errors import BadInput, Conflict, NotFound
from core.contract.states import JOB_MOVES, Desired, JobState, Phase
from core.db import checkpoints, events
from core.db.events import JOBS, NewEvent
from core.db.tables import Job

_UNSET: Any = object()
# Behind the last step there is nothing left to go on with.
ENDING = (Phase.EXPORTING, Phase.VERIFYING, Phase.SAMPLING, Phase.UPLOADING)


@cache
def _one(*, lock: bool) -> Select[Job]:
    """Made once: nothing is asked more often."""
    query = select(Job).where(Job.id == bindparam("job"), Job.project_id == bindparam("project"))
    return query.with_for_update().execution_options(populate_existing=True) if lock else query


def get(session: Session, project_id: str, job_id: str, *, lock: bool = False) -> Job:
    """`lock`: held to the end of the transaction."""
    job = session.scalar(_one(lock=lock), {"job": job_id, "project": project_id})
    if job is None:
        raise NotFound(f"No fine-tuning job {job_id} here.", code="job_not_found", param="fine_tuning_job_id")
    return job


def locked(session: Session, job_id: str) -> Job:
    """The row as it is now, held to the end of the transaction."""
    return session.scalars(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).one()


def page(
    session: Session,
    project_id: str,
    after: str | None,
    limit: int,
    metadata: Mapping[str, str] | None = _UNSET,
) -> tuple[Sequence[Job], bool]:
    """Newest first; `metadata` None asks for jobs without any, a mapping for jobs that hold all of it."""
    query = select(Job).where(Job.project_id == project_id)
    if metadata is None:
        query = query.where(Job.metadata_.is_(None))
    elif metadata is not _UNSET:
        query = query.where(Job.metadata_.contains(dict(metadata)))
    if after is not None:
        cursor = session.scalar(select(Job).where(Job.id == after, Job.project_id == project_id))
        if cursor is None:
            raise BadInput(f"No job {after} here; take `after` from an item of this list.", param="after")
        query = query.where(tuple_(Job.created_at, Job.id) < (cursor.created_at, cursor.id))
    rows = session.scalars(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit


def versions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """What those who wait compare with."""
    return {row.id: row.version for row in session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids)))}


def unfinished_of_file(session: Session, file_id: str) -> str | None:
    """The id of an unfinished job that uses the file."""
    return session.scalar(
        select(Job.id)
        .where((Job.training_file == file_id) | (Job.validation_file == file_id), Job.finished_at.is_(None))
        .limit(1)
    )


def unfinished_of_digest(session: Session, digest: str) -> str | None:
    """The id of an unfinished job that pins these canonical records."""
    return session.scalar(
        select(Job.id)
        .where((Job.training_digest == digest) | (Job.validation_digest == digest), Job.finished_at.is_(None))
        .limit(1)
    )


def enter(session: Session, job_id: str, to: JobState, event: NewEvent, **values: Any) -> None:
    """The gate: one guarded UPDATE and one event, in the caller's transaction. The row is locked by the caller.

    Raises Conflict when the table of moves does not allow it from the state that the row really has.
    """
    legal = [state for state, targets in JOB_MOVES.items() if to in targets]
    if to.terminal:
        values |= {"finished_at": func.now(), "phase": None}
    legally = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(legal)).values(state=to, **values)
    if not events.append_with(session, legally, job_id, event):
        raise Conflict(f"Job {job_id} cannot become {to}.", code="wrong_state")


def move(session: Session, job: Job, to: JobState, event: NewEvent, **values: Any) -> None:
    """Through the gate; `job` shows afterwards what the row has become."""
    enter(session, job.id, to, event, **values)
    session.refresh(job)


def fail(session: Session, job: Job, *, code: str, message: str, param: str | None = None) -> None:
    error = {"code": code, "message": message, "param": param}
    move(session, job, JobState.FAILED, NewEvent(f"Job failed: {message}", level="error", data=error), error=error)


def requeue(
    session: Session, job: Job, event: NewEvent, *, delay_seconds: float, retries: int, halvings: int | None = None
) -> None:
    """Back to the queue after an attempt that did not finish; the next one resumes. `halvings` of its row budget."""
    move(
        session,
        job,
        JobState.QUEUED,
        event,
        phase=None,
        retries=retries,
        halvings=job.halvings if halvings is None else halvings,
        run_after=func.now() + timedelta(seconds=delay_seconds),
    )


def cancel(session: Session, project_id: str, job_id: str) -> Job:
    """At once when no attempt is open; else the wish is written, and the holder ends the attempt."""
    job = get(session, project_id, job_id, lock=True)
    if job.state == JobState.CANCELLED or (job.desired == Desired.CANCEL and not JobState(job.state).terminal):
        return job
    if JobState(job.state).terminal:
        raise Conflict(f"Job {job_id} has already {job.state}; it cannot be cancelled.", code="job_not_cancellable")
    if job.state == JobState.RUNNING:
        session.execute(update(Job).where(Job.id == job_id).values(desired=Desired.CANCEL, phase=Phase.CANCELLING))
        events.append(session, job_id, NewEvent("Cancelling: the run stops after its current step."))
        session.refresh(job)
    else:
        move(session, job, JobState.CANCELLED, NewEvent("Job cancelled."), desired=Desired.CANCEL)
        checkpoints.drop_resume_points(session, job_id)
    return job


def pause(session: Session, project_id: str, job_id: str) -> Job:
    """At once when it waits; a running one leaves a resume point first, and its holder ends the attempt."""
    job = get(session, project_id, job_id, lock=True)
    if JobState(job.state).terminal or job.desired == Desired.CANCEL:
        state = job.state if JobState(job.state).terminal else "being cancelled"
        raise Conflict(f"Job {job_id} is {state}; it cannot be paused.", code="job_not_pausable")
    if job.desired == Desired.PAUSE:
        return job
    if job.state == JobState.QUEUED:
        move(session, job, JobState.PAUSED, NewEvent("Job paused."), desired=Desired.PAUSE)
    elif job.state == JobState.RUNNING:
        if job.phase in ENDING and (job.progress or {}).get("percent") == 100:
            raise Conflict(
                f"Job {job_id} is trained and writes its model; it cannot be paused any more.", code="job_not_pausable"
            )
        session.execute(update(Job).where(Job.id == job_id).values(desired=Desired.PAUSE, phase=Phase.PAUSING))
        events.append(session, job_id, NewEvent("Pausing: the run leaves a resume point and stops."))
    else:
        session.execute(update(Job).where(Job.id == job_id).values(desired=Desired.PAUSE))
        events.append(session, job_id, NewEvent("The job pauses when its files are checked."))
    session.refresh(job)
    return job


def resume(session: Session, project_id: str, job_id: str) -> Job:
    """Back to the queue; of a job that has not stopped yet, only the wish goes."""
    job = get(session, project_id, job_id, lock=True)
    if JobState(job.state).terminal or job.desired != Desired.PAUSE:
        raise Conflict(f"Job {job_id} is {job.state}, not paused; there is nothing to resume.", code="job_not_paused")
    if job.state == JobState.PAUSED:
        event = NewEvent("Job resumed; it goes on from its last resume point.")
        move(session, job, JobState.QUEUED, event, desired=Desired.RUN, run_after=func.now())
    else:
        session.execute(update(Job).where(Job.id == job_id).values(desired=Desired.RUN))
        events.append(session, job_id, NewEvent("The job is not to be paused any more."))
    session.refresh(job)
    return job


def show(session: Session, job_id: str, *said: NewEvent, **values: Any) -> None:
    """Writes what is visible beside the state (phase, progress, resolved settings) and raises the version; with what is
    said of it, in one statement."""
    change = update(Job).where(Job.id == job_id).values(**values)
    if said:
        events.append_with(session, change, job_id, *said)
    elif values:
        session.execute(change.values(version=Job.version + 1))
        events.notify(session, job_id)
