"""What has been kept long enough goes, its objects too; what has not, stays."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from core.contract.states import Desired, JobState, TaskKind
from core.db import checkpoints, events, metrics, rank_logs
from core.db.engine import Session, transaction
from core.db.events import NewEvent
from core.db.invariants import breaches
from core.db.tables import Event, IdempotencyKey, Job, Metric, RankLog, Task
from core.objects import keys
from tests.model.world import MANIFEST
from tests.rows import make_job
from worker.sweeper import retain


def days_ago(days: float) -> object:
    return func.now() - timedelta(days=days)


def paused(session: Session, days: float) -> str:
    job = make_job(session, state=JobState.PAUSED, desired=Desired.PAUSE)
    events.append(session, job.id, NewEvent("Job paused."))
    session.execute(update(Event).where(Event.job_id == job.id).values(created_at=days_ago(days)))
    prefix = keys.resume_point(job.id, 0, 2)
    checkpoints.commit_resume_point(session, job.id, epoch=0, step=2, prefix=prefix, manifest=MANIFEST)
    return job.id


@pytest.mark.usefixtures("service")
def test_a_job_paused_for_thirty_days_fails_and_leaves_no_resume_point() -> None:
    with transaction() as session:
        old, young = paused(session, 31), paused(session, 29)
    retain()
    with transaction() as session:
        job = session.get_one(Job, old)
        assert (job.state, (job.error or {})["code"]) == (JobState.FAILED, "paused_too_long")
        assert checkpoints.newest_resume_point(session, old) is None
        assert session.get_one(Job, young).state == JobState.PAUSED
        assert checkpoints.newest_resume_point(session, young) is not None
        subjects = session.scalars(select(Task.subject).where(Task.kind == TaskKind.DELETE_OBJECTS)).all()
        assert subjects == [keys.resume_point(old, 0, 2)]


def ended(session: Session, days: float) -> str:
    job = make_job(session, state=JobState.FAILED, finished_at=days_ago(days))
    events.append(session, job.id, NewEvent("Job failed."))
    metrics.record(session, job.id, [(1, "train", {"loss": 0.7})])
    rank_logs.write(session, job.id, 1, 0, "the end")
    return job.id


@pytest.mark.usefixtures("service")
def test_logs_go_after_thirty_days_and_history_after_half_a_year() -> None:
    with transaction() as session:
        for days in (29, 31, 181):
            ended(session, days)
        jobs = {job.id: job.finished_at for job in session.scalars(select(Job))}
    youngest, middle, oldest = sorted(jobs, key=lambda job_id: str(jobs[job_id]), reverse=True)
    retain()
    with transaction() as session:
        assert session.scalars(select(RankLog.job_id)).all() == [youngest]
        assert set(session.scalars(select(Event.job_id))) == {youngest, middle}
        assert set(session.scalars(select(Metric.job_id))) == {youngest, middle}
        subjects = session.scalars(select(Task.subject).where(Task.kind == TaskKind.DELETE_OBJECTS)).all()
        assert set(subjects) == {keys.logs(middle, 1), keys.logs(oldest, 1)}
        assert not [each for each in breaches(session) if each.code == "events_without_gaps"]
        session.execute(text("DELETE FROM events WHERE job_id = :job").bindparams(job=youngest))
        session.execute(update(Job).where(Job.id == youngest).values(finished_at=func.now()))
        assert [each.code for each in breaches(session) if each.code == "events_without_gaps"]


@pytest.mark.usefixtures("service")
def test_idempotency_keys_go_after_a_day() -> None:
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED)
        for name, days in (("old", 1.1), ("new", 0.9)):
            row = IdempotencyKey(project_id=job.project_id, key=name, body_sha256="", job_id=job.id)
            row.created_at = days_ago(days)  # type: ignore[assignment]
            session.add(row)
    retain()
    with transaction() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["new"]
