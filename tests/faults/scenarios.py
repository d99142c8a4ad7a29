"""What must happen for the points that no undisturbed life passes: each brings it about, and outlives its kills."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import func, select, update

from core.contract.states import FileStatus, JobState
from core.db import nodes
from core.db.engine import transaction
from core.db.tables import (
    Attempt,
    Checkpoint,
    Event,
    File,
    IdempotencyKey,
    Intake,
    Job,
    Node,
    RankLog,
    ReferenceEntry,
    ResumePoint,
)
from core.objects import keys
from core.objects.store import Store
from tests.conftest import ROOT
from tests.e2e.live import processes_of, triples
from tests.faults.lives import Lives
from tests.integration.api.conftest import serve
from tests.proxy import Proxy
from tests.storm.victims import Victim, present
from tests.waiting import until

MIB = 1 << 20
BOUNDARY = "x" * 30
HALF_A_FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
).encode() + b"x" * (9 * MIB)


@dataclass(frozen=True)
class Scenario:
    """`reach` brings the service to each of `points`, which are armed, and sees what it began to its end."""

    points: tuple[str, ...]
    reach: Callable[[Lives], None]


def both(function: str) -> tuple[str, str]:
    return f"{function}:committing", f"{function}:committed"


def victim(lives: Lives, component: str) -> Victim:
    return until(lambda: present(lives.live.home, lives.live.process.pid)[component], f"a {component}")[0]


def drain(lives: Lives, *, on: bool) -> None:
    """While it is drained, nothing of what is uploaded or created begins."""
    with transaction() as session:
        for name in session.scalars(select(Node.name)).all():
            nodes.drain(session, name, on=on)


def judged(file_id: str) -> None:
    def look() -> bool:
        with transaction() as session:
            file = session.get_one(File, file_id)
            assert file.status != FileStatus.ERROR, file.status_details
            return file.status == FileStatus.PROCESSED

    until(look, f"the checks of {file_id}", 120)


def gone(key: str) -> None:
    store = Store.from_settings()
    until(lambda: store.head(key) is None, f"{key} to go", 90)
    store.close()


def run(lives: Lives, file: str, steps: int, **script: Any) -> str:
    job = lives.create(f"run of {file}", file, steps=steps, **script)
    lives.succeeded(job, steps)
    return job


def a_job_too_large_for_every_node(lives: Lives) -> None:
    job = lives.create("too large", lives.upload(), gpus=64, steps=2)
    lives.until_killed(*both("worker.sweeper:tell_too_large"))
    with transaction() as session:
        told = session.query(Event).filter(Event.job_id == job, Event.data["type"].astext == "no_node_large_enough")
        assert told.count() == 1
    lives.post(job, "cancel")
    lives.until(job, JobState.CANCELLED)


def a_file_past_its_time(lives: Lives) -> None:
    file = lives.upload()
    judged(file)
    with transaction() as session:
        session.execute(update(File).where(File.id == file).values(expires_at=func.now() - timedelta(seconds=1)))
    gone(keys.file(file))


def a_source_that_breaks_off_in_the_middle(lives: Lives) -> None:
    """No writer of ours has one at hand whose source can be broken from outside: a process with the store alone."""
    program = """
from core.objects.parts import PART_BYTES
from core.objects.store import Store
def broken():
    yield b"x" * PART_BYTES
    raise OSError("the disk is gone")
Store.from_settings().put_stream("canonical/broken", broken())
"""
    told = {**os.environ, "PALATE_FAILPOINTS": str(lives.points)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=told, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert lives.orphans() == []


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
    lives.until_killed(*both("worker.claim:lapsed"))
    os.kill(sleeper.pid, signal.SIGCONT)
    lives.succeeded(job, 20)


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


def jobs_whose_files_are_judged_late(lives: Lives) -> None:
    drain(lives, on=True)
    job = lives.create("waits", lives.upload(), steps=3)
    lives.until_killed(*both("worker.sweeper:admit"))
    drain(lives, on=False)
    lives.succeeded(job, 3)


def a_task_that_loses(lives: Lives) -> None:
    """The file's bytes are spoiled in the store until it has lost once."""
    drain(lives, on=True)
    file = lives.upload()
    store = Store.from_settings()
    good = store.read(keys.file(file))
    store.put(keys.file(file), b"x" * len(good))
    drain(lives, on=False)
    lives.until_killed("worker.task:lose:committed")
    store.put(keys.file(file), good)
    store.close()
    lives.until_killed(*both("worker.sweeper:Sweeper.take_over_tasks"))
    run(lives, file, 3)


def a_task_that_takes_long(lives: Lives) -> None:
    """Its child sleeps until the task has renewed its lease."""
    file = lives.upload()

    def hold_up() -> bool:
        if lives.killed(*both("worker.task:renewer.<locals>.alive")):
            return True
        for pid, command in processes_of(lives.live.home).items():
            if "-m worker.validate " in command:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        return False

    until(hold_up, "two tasks that were killed as they renewed their lease", 90)
    run(lives, file, 3)


def a_file_deleted_before_it_is_checked(lives: Lives) -> None:
    drain(lives, on=True)
    file = lives.upload()
    lives.delete(f"/files/{file}")
    drain(lives, on=False)
    gone(keys.file(file))


def large_objects(lives: Lives) -> None:
    """Every upload that dies leaves parts or an object without a row."""
    run(lives, lives.upload(), 6, ballast=9 * MIB)


def clients_that_leave(lives: Lives) -> None:
    """In the middle of an upload, until the API has died wherever it cleans up; the rest is the sweeper's."""
    remove = [point for point in CLIENTS if point.startswith("api.")]
    while not lives.killed(*remove):
        leave(lives, sum(lives.killed(point) for point in remove))
    lives.surely_answered()
    with transaction() as session:
        session.execute(update(Intake).values(seen_at=func.now() - timedelta(hours=1)))

    def none_left() -> bool:
        with transaction() as session:
            return session.query(Intake).count() == 0

    until(none_left, "the last intake to end", 90)


def leave(lives: Lives, killed: int) -> None:
    """Sends the half of an upload; goes when the API has its intake; waits for the API's end."""
    remove = [point for point in CLIENTS if point.startswith("api.")]
    lives.surely_answered()
    with transaction() as session:
        before = set(session.scalars(select(Intake.file_id)))

    def begun() -> bool:
        with transaction() as session:
            return bool(set(session.scalars(select(Intake.file_id))) - before)

    def body() -> Any:
        yield HALF_A_FORM
        until(begun, "the intake", 60)
        raise Left

    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    with suppress(Left, httpx.TransportError):
        lives.user.http.post("/files", content=body(), headers=headers)
    until(lambda: sum(lives.killed(point) for point in remove) > killed, "the API's death", 60)


class Left(Exception):
    """The client is gone."""


def a_database_that_goes_as_an_upload_begins(lives: Lives) -> None:
    """An API of its own, whose database can be cut off while its store is there."""
    parts = {**os.environ, "PALATE_FAILPOINTS": str(lives.points)}
    with Proxy(parts["DATABASE_URL"]) as database:
        parts["DATABASE_URL"] = database.url
        with serve(parts, lives.live.home / "second-api.log") as server:
            headers = {"authorization": f"Bearer {lives.live.user.token}"}
            with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=60) as http:
                assert http.get("/files").status_code == 200, "its key is known for a while"
                database.cut()
                with suppress(httpx.TransportError):
                    http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", triples(40))})
            assert server.process.wait(30) == -signal.SIGKILL


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


CLIENTS = (
    *both("api.transfer:_remove"),
    *both("worker.sweeper:end_intakes"),
    "worker.task:delete_objects:abort_multipart",
)
TIME = tuple(point for name in ("fail_paused", "drop_logs", "drop_history") for point in both(f"worker.sweeper:{name}"))
SENDING = tuple(
    f"core.objects.store:Store.put_stream:{name}" for name in ("begin_multipart", "upload_part", "complete_multipart")
)

SCENARIOS = [
    Scenario(both("worker.sweeper:tell_too_large"), a_job_too_large_for_every_node),
    Scenario(both("worker.sweeper:expire"), a_file_past_its_time),
    Scenario(("core.objects.store:Store.put_stream:abort_multipart",), a_source_that_breaks_off_in_the_middle),
    Scenario(both("worker.claim:lost"), a_supervisor_that_dies),
    Scenario(both("worker.claim:lapsed"), a_supervisor_that_sleeps_past_its_lease),
    Scenario(both("worker.references:lost"), kept_log_probabilities_that_are_lost),
    Scenario(both("worker.resume:damaged"), a_resume_point_that_is_damaged),
    Scenario(both("worker.sweeper:admit"), jobs_whose_files_are_judged_late),
    Scenario((*both("worker.task:lose"), *both("worker.sweeper:Sweeper.take_over_tasks")), a_task_that_loses),
    Scenario(both("worker.task:renewer.<locals>.alive"), a_task_that_takes_long),
    Scenario(both("worker.validate_task:validate"), a_file_deleted_before_it_is_checked),
    Scenario(
        (*SENDING, "worker.orphans:StandingStill.abort:abort_multipart", "worker.orphans:of_attempt:delete"),
        large_objects,
    ),
    Scenario(CLIENTS, clients_that_leave),
    Scenario(("api.transfer:_begin:abort_multipart",), a_database_that_goes_as_an_upload_begins),
    Scenario(TIME, time_that_goes_by),
]
# In make test.
CHEAP = {each.__name__ for each in (a_file_past_its_time, a_source_that_breaks_off_in_the_middle)}
