"""What 1,000 running jobs cost Postgres: a heartbeat each 15 s and progress once a second of each of them.

The statements are those of the code: one `Recorder.write` and one renewal are recorded, then sent for every job by a
client that costs little. Beside them a real holder writes and renews, and its times are what a supervisor sees.
Client and server share the cores.
"""

import argparse
import heapq
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import crowd
import live
import psycopg
from bench_api import prepared, quantile, seconds_of
from sqlalchemy import event, text

from core import ids
from core.contract.trainer_events import Step
from core.db import attempts
from core.db import engine as db
from core.db.attempts import Lease
from core.db.engine import transaction
from worker.recorder import Recorder

HEARTBEAT_SECONDS, LEASE_SECONDS = 15.0, 60.0
METRICS = dict.fromkeys(
    "loss grad_norm learning_rate rewards/chosen rewards/rejected rewards/margins rewards/accuracies logps/chosen "
    "logps/rejected tokens_per_second".split(),
    0.123456789,
)
NOTIFIES = "pg_notify"
Statements = list[tuple[str, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    with live.folder() as scratch, live.running(scratch / "home") as service:
        prepared(service, scratch, asked.jobs + 1)
        with service.database():
            measure(service, asked.jobs, asked.seconds)


def measure(service: live.Service, count: int, seconds: float) -> None:
    with transaction() as session:
        session.execute(text("UPDATE jobs SET state = 'running', epoch = 1, finished_at = NULL, phase = 'training'"))
        for table in ("seat_devices", "seats", "attempts"):
            session.execute(text(f"DELETE FROM {table}"))
        session.execute(
            text(
                "INSERT INTO attempts (job_id, epoch, node, owner, slots, lease_until) "
                "SELECT id, 1, :node, 'nobody', 1, now() + interval '1 day' FROM jobs"
            ),
            {"node": crowd.NODE},
        )
    own = Lease(f"ftjob-bench{count + 1}", 1, "nobody")
    quiet = real(own, 10.0)
    with recorded() as progress:
        write(own, 1)
    with recorded() as renewal, transaction() as session:
        attempts.hold(session, own, LEASE_SECONDS)
    live.say(f"a progress is {len(progress)} statements, a renewal {len(renewal)}")
    postgres, url = service.pid("/postgres "), service.environment["DATABASE_URL"].replace("+psycopg", "")
    before, used, began = state(), cpu(postgres), time.perf_counter()
    with beside(lambda: real(own, seconds)) as busy:
        done, late = drive(url, own.job_id, count, seconds, progress, renewal)
    passed = time.perf_counter() - began
    after, share = state(), {name: (now - used[name]) / passed for name, now in cpu(postgres).items()}
    wal = (after["wal"] - before["wal"]) / passed
    rows = [
        (name, *(f"{quantile(values, percent):.1f}" for percent in (50, 99)), f"{max(values):.0f}")
        for name, values in (
            *((f"{each}, alone", values) for each, values in quiet.items()),
            *((f"{each}, among {count:,}", values) for each, values in busy.items()),
        )
    ]
    live.table(("what a holder sees", "p50 ms", "p99 ms", "most ms"), rows)
    rate = done / passed
    live.say(f"{rate:.0f} transactions a second ({count * (1 + 1 / HEARTBEAT_SECONDS):.0f} asked), {late:.2f} s late")
    live.say("cores: " + ", ".join(f"{name} {each:.2f}" for name, each in share.items()))
    live.verdict(
        f"{count:,} running jobs: PostgreSQL uses {share['PostgreSQL']:.2f} of a core "
        f"({1000 * share['PostgreSQL'] / rate:.2f} ms a transaction), WAL {wal * 3600 / live.GIB:.1f} GiB an hour "
        f"({wal / rate / 1024:.1f} KiB a transaction); a write takes {rows[2][1]} ms (p50), {rows[2][2]} ms (p99)"
    )


def write(lease: Lease, step: int) -> None:
    recorder = Recorder(lease, LEASE_SECONDS)
    recorder.take(
        Step(
            time=time.time(),
            step=step,
            total_steps=2**31,
            epoch=1.0,
            metrics=METRICS,
            tokens=step,
            pairs_per_second=1.0,
            eta_seconds=1.0,
        )
    )
    recorder.write()


def real(lease: Lease, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of a write and of a renewal, five of each a second."""
    found: dict[str, list[float]] = {"progress": [], "renewal": []}
    base = round(time.time()) % 1_000_000_000
    for number in range(round(seconds * 5)):
        began = time.perf_counter()
        write(lease, base + number)
        wrote = time.perf_counter()
        with transaction() as session:
            attempts.hold(session, lease, LEASE_SECONDS)
        found["progress"].append(1000 * (wrote - began))
        found["renewal"].append(1000 * (time.perf_counter() - wrote))
        time.sleep(max(0.0, 0.2 - (time.perf_counter() - began)))
    return found


@contextmanager
def beside(act: Callable[[], dict[str, list[float]]]) -> Iterator[dict[str, list[float]]]:
    found: dict[str, list[float]] = {}
    thread = threading.Thread(target=lambda: found.update(act()))
    thread.start()
    yield found
    thread.join()


@contextmanager
def recorded() -> Iterator[Statements]:
    """What the code sends to Postgres."""
    found: Statements = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        found.extend((statement, dict(each)) for each in (parameters if many else [parameters]))

    event.listen(db.engine(), "before_cursor_execute", note)
    yield found
    event.remove(db.engine(), "before_cursor_execute", note)


def drive(
    url: str, sample: str, count: int, seconds: float, progress: Statements, renewal: Statements
) -> tuple[int, float]:
    """Each job's statements when they are due, one transaction each, and after it the word to who waits; how many, and
    how late the last ones were."""
    draw = random.Random(7)
    due = [(draw.random(), number, 1.0, progress) for number in range(1, count + 1)]
    due += [(draw.random() * HEARTBEAT_SECONDS, number, HEARTBEAT_SECONDS, renewal) for number in range(1, count + 1)]
    heapq.heapify(due)
    steps = [0] * (count + 1)
    done, late, began = 0, 0.0, time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        while (now := time.perf_counter() - began) < seconds:
            at, number, every, statements = due[0]
            if at > now:
                time.sleep(min(at - now, 0.01))
                continue
            heapq.heapreplace(due, (at + every, number, every, statements))
            steps[number] += statements is progress
            job = f"ftjob-bench{number}"
            mine = [(statement, of_job(values, sample, job, steps[number])) for statement, values in statements]
            with connection.pipeline():
                with connection.transaction():
                    for statement, values in mine:
                        if NOTIFIES not in statement:
                            connection.execute(statement, values)
                for statement, values in mine:
                    if NOTIFIES in statement:
                        connection.execute(statement, values)
            done, late = done + 1, now - at
    return done, late


def of_job(parameters: dict[str, Any], sample: str, job: str, step: int) -> dict[str, Any]:
    """The recorded values, with this job's own in place of the sample's."""
    own: dict[str, Any] = {}
    for name, value in parameters.items():
        if value in (sample, [sample]):
            own[name] = job if value == sample else [job]
        elif isinstance(value, str) and value.startswith("ftevent-"):
            own[name] = ids.event_id()
        elif re.match(r"seq(_|$)", name):
            own[name] = 1_000_000 + step
        elif re.match(r"step(_|$)", name):
            own[name] = step
        else:
            own[name] = value
    return own


def state() -> dict[str, float]:
    with transaction() as session:
        return {"wal": float(session.scalar(text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")) or 0)}


def cpu(postgres: int) -> dict[str, float]:
    return {"PostgreSQL": sum(map(seconds_of, live.tree(postgres))), "this client": seconds_of(os.getpid())}


if __name__ == "__main__":
    main()
