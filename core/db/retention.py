"""What time takes away: paused jobs that nobody resumes, logs, events and metrics, idempotency keys; a batch a call."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, exists, func, select, tuple_
from sqlalchemy.orm import Session

from core.contract.states import JobState
from core.db import checkpoints, jobs
from core.db.submit import KEY_LIVES
from core.db.tables import Event, IdempotencyKey, Job, Metric, RankLog

BATCH = 100


def fail_paused(session: Session, days: float) -> int:
    """Jobs that nothing happened to for so long since they were paused; their resume points go. Returns how many."""
    last = select(func.max(Event.created_at)).where(Event.job_id == Job.id).correlate(Job).scalar_subquery()
    due = select(Job).where(Job.state == JobState.PAUSED, last < func.now() - timedelta(days=days))
    found = session.scalars(due.limit(BATCH).with_for_update(skip_locked=True, of=Job)).all()
    for job in found:
        message = f"It was paused for more than {days:g} days; create it again to train it."
        jobs.fail(session, job, code="paused_too_long", message=message)
        checkpoints.drop_resume_points(session, job.id)
    return len(found)


def drop_logs(session: Session, days: float) -> Sequence[tuple[str, int]]:
    """Of jobs that ended so long ago: (job, epoch) of each attempt whose objects are to go too."""
    due = (
        select(RankLog.job_id, RankLog.epoch)
        .join(Job, Job.id == RankLog.job_id)
        .where(Job.finished_at < func.now() - timedelta(days=days))
        .distinct()
        .limit(BATCH)
    )
    found = [(row.job_id, row.epoch) for row in session.execute(due)]
    session.execute(delete(RankLog).where(tuple_(RankLog.job_id, RankLog.epoch).in_(found)))
    return found


def drop_history(session: Session, days: float) -> int:
    """Events and metrics of jobs that ended so long ago; the jobs themselves stay. Returns of how many."""
    has_any = exists().where(Event.job_id == Job.id)
    due = select(Job.id).where(Job.finished_at < func.now() - timedelta(days=days), has_any).limit(BATCH)
    found = session.scalars(due).all()
    for table in (Event, Metric):
        session.execute(delete(table).where(table.job_id.in_(found)))
    return len(found)


def drop_keys(session: Session) -> None:
    """Idempotency keys that no request can mean any more."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEY_LIVES))
