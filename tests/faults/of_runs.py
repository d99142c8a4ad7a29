"""Faults of runs and nodes, and time that goes by: each brings its points about, and outlives its kills."""

import os
import shutil
import signal
from datetime import timedelta

from sqlalchemy import select, update

from core.contract.states import JobState
from core.db import seats
from core.db.engine import transaction
from core.db.tables import (
    Attempt,
    Checkpoint,
    Event,
    IdempotencyKey,
    Job,
    RankLog,
    ReferenceEntry,
    ResumePoint,
    Seat,
    SeatDevice,
)
from core.objects.store import Store
from tests.faults.lives import Lives
from tests.faults.scenario import both, run, victim
from tests.waiting import until

MIB = 1 << 20
LAPSED = (*both("worker.claim:lapsed"), *both("worker.claim:end_seats"))
TIME = tuple(point for name in ("fail_paused", "drop_logs", "drop_history") for point in both(f"worker.sweeper:{name}"))


def a_job_too_large_for_every_node(lives: Lives) -> None:
    job = lives.create("too large", lives.upload(), gpus=64, steps=2)
    lives.until_killed(*both("worker.sweeper:tell_too_large"))
    with transaction() as session:
        told = session.query(Event).filter(Event.job_id == job, Event.data["type"].astext == "no_node_large_enough")
        assert told.count() == 1
    lives.post(job, "cancel")
    lives.until(job, JobState.CANCELLED)


def a_supervisor_that_dies(lives: Lives) -> None:
    """Again where the worker, killed as well, was away for longer than the lease: then another point is passed."""
    job = lives.create("dies", lives.upload(), steps=100)
    lives.stepped(job)
    while not lives.killed(*both("worker.claim:lost")):
        victim(lives, "supervisor").kill()
        lives.stepped(job, (lives.row(job).progress or {})["step"])
    lives.succeeded(job, 100)


def a_supervisor_that_sleeps_past_its_lease(lives: Lives) -> None:
    job = lives.create("sleeps", lives.upload(), steps=20)
    lives.stepped(job)
    sleeper = victim(lives, "supervisor")
    os.kill(sleeper.pid, signal.SIGSTOP)
    lives.until_killed(*LAPSED)
    os.kill(sleeper.pid, signal.SIGCONT)
    lives.succeeded(job, 20)


def a_seat_on_a_node_that_is_gone(lives: Lives) -> None:
    """Its attempt was taken over, and the node never came back to end it."""
    job = run(lives, lives.upload(), 3)
    with transaction() as session:
        session.execute(update(Seat).where(Seat.job_id == job).values(node="gone", ended_at=None))
        session.add(SeatDevice(node="gone", device="cpu0", job_id=job, epoch=1, node_rank=0))
    lives.until_killed(*both("worker.sweeper:end_seats"))

    def ended() -> bool:
        with transaction() as session:
            return not seats.held(session) and not seats.used(session)

    until(ended, "the end of the seat")


def kept_log_probabilities_that_are_lost(lives: Lives) -> None:
    file = lives.upload()
    first = run(lives, file, 3)
    with transaction() as session:
        digest = session.get_one(Job, first).training_digest
        key = session.scalars(select(ReferenceEntry.object_key).where(ReferenceEntry.data_digest == digest)).one()
    store = Store.from_settings()
    store.delete(key)
    store.close()
    shutil.rmtree(lives.live.home / "cache" / "references", ignore_errors=True)
    second = lives.create("second", file, steps=3)
    lives.until_killed(*both("worker.references:lost"))
    lives.succeeded(second, 3)


def large_objects(lives: Lives) -> None:
    """Every upload that dies leaves parts or an object without a row."""
    run(lives, lives.upload(), 6, ballast=9 * MIB)


def time_that_goes_by(lives: Lives) -> None:
    file = lives.upload()
    paused = lives.create("forgotten", file, steps=2_000)
    lives.stepped(paused)
    lives.post(paused, "pause")
    lives.until(paused, JobState.PAUSED)
    old, oldest = run(lives, lives.upload(), 3), run(lives, lives.upload(), 3)
    for job, days in ((paused, 31), (old, 31), (oldest, 181)):
        age(job, days)
    lives.forgotten.add(oldest)
    victim(lives, "celery").kill()  # what is kept how long is looked at once an hour, and by each worker that starts
    lives.until_killed(*TIME)
    with transaction() as session:
        error = session.get_one(Job, paused).error
        assert error is not None
        assert error["code"] == "paused_too_long"
        assert not session.query(RankLog).filter(RankLog.job_id.in_([old, oldest])).count()
        assert {job for (job,) in session.query(Event.job_id).distinct()} & {old, oldest} == {old}


def age(job: str, days: float) -> None:
    """As if all that the job did had been so many days ago."""
    earlier = timedelta(days=days)
    columns = {
        Job: ("created_at", "finished_at"),
        Attempt: ("started_at", "ended_at"),
        Event: ("created_at",),
        Checkpoint: ("created_at",),
        IdempotencyKey: ("created_at",),
    }
    with transaction() as session:
        for table, names in columns.items():
            mine = (table.id if table is Job else table.job_id) == job  # type: ignore[attr-defined]
            shifted = {name: getattr(table, name) - earlier for name in names}
            session.execute(update(table).where(mine).values(shifted))


def a_model_that_the_next_attempt_verifies(lives: Lives) -> None:
    job = lives.create("verified later", lives.upload(), steps=3, at={"verifying": "kill"})
    lives.until_killed("worker.resume:whole_model:write")
    lives.succeeded(job, 3)


def a_resume_point_that_is_damaged(lives: Lives) -> None:
    job = lives.create("damaged", lives.upload(), steps=60)
    lives.stepped(job, 5)
    lives.post(job, "pause")
    lives.until(job, JobState.PAUSED)
    with transaction() as session:
        points = session.query(ResumePoint.prefix).filter_by(job_id=job).order_by(ResumePoint.step)
        prefixes = [point.prefix for point in points]
    assert len(prefixes) == 2
    store = Store.from_settings()
    for listed in store.list(prefixes[-1]):
        store.put(listed.key, b"x" * listed.bytes)
    store.close()
    lives.post(job, "resume")
    lives.until_killed(*both("worker.resume:damaged"))
    lives.succeeded(job, 60)


def resume_points_that_are_gone(lives: Lives) -> None:
    """From the node's disk, before they are stored."""
    job = lives.create("gone", lives.upload(), steps=4, loses=2)
    lives.until_killed(*both("worker.publisher:Publisher._gone"))
    lives.succeeded(job, 4)
