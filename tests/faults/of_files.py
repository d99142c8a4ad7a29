"""Faults of files, uploads and tasks: each brings its points about, and outlives its kills."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import func, select, update

from core.db.engine import transaction
from core.db.tables import (
    File,
    Intake,
)
from core.objects import keys
from core.objects.store import Store
from tests.conftest import ROOT
from tests.e2e.live import processes_of, triples
from tests.faults.lives import Lives
from tests.faults.scenario import both, drain, gone, judged, run
from tests.integration.api.conftest import serve
from tests.proxy import Proxy
from tests.waiting import until

MIB = 1 << 20
BOUNDARY = "x" * 30
HALF_A_FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
).encode() + b"x" * (9 * MIB)
CLIENTS = (
    *both("api.transfer:_remove"),
    *both("worker.sweeper:end_intakes"),
    "worker.task:delete_objects:abort_multipart",
)


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
