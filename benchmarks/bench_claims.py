"""Claims from a long queue by eight nodes at once: python benchmarks/bench_claims.py. Goals: p99 <= 50 ms, >= 1,000/s.

A claim is what a worker does for each job: an attempt row with its lease, the job's state, its event, one transaction
of core.db. The jobs belong to eight projects; a node's slots are full when a round ends. Beside it, with as many
workers and jobs, in turns: procrastinate's fetch_job on the same PostgreSQL, and a message polled and acknowledged by
Celery's transport on Valkey, which keeps neither row nor lease.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import live
from sqlalchemy import create_engine, insert, text

from benchmarks.arms import claims
from core import ids
from core.contract.job_spec import JobSpec
from core.contract.states import JobState
from core.db import nodes
from core.db.engine import transaction
from core.db.migrate import upgrade
from core.db.tables import Job
from local.stack import Stack
from tests.rows import make_job

NODES, PROJECTS = 8, 8
GOAL_RATE, GOAL_P99_MS = 1_000, 50


@dataclass
class Arm:
    """Workers of one queue, and what all rounds took."""

    workers: "list[subprocess.Popen[str]]"
    seconds: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    def round(self, each: int) -> None:
        for worker in self.workers:
            tell(worker, str(each))
        told = [json.loads(answer(worker)) for worker in self.workers]
        self.seconds += [second for one in told for second in one["seconds"]]
        self.walls.append(max(one["ended"] for one in told) - min(one["began"] for one in told))

    @property
    def rate(self) -> float:
        return len(self.seconds) / sum(self.walls)

    @property
    def p99_ms(self) -> float:
        return 1000 * statistics.quantiles(self.seconds, n=100)[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--slots", type=int, default=125)
    parser.add_argument("--queue", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.queue < asked.rounds * NODES * asked.slots:
        parser.error("the queue must be as long as all rounds together")
    with live.folder() as home, Stack(home) as stack:
        url = stack.postgres.owner_url
        peer_url = url.rpartition("/")[0] + "/peer"
        os.environ |= stack.environment | {"DATABASE_URL": url, "PEER_DATABASE_URL": peer_url}
        upgrade(url)
        queue_ours(asked.queue, asked.slots)
        run(url, "CREATE DATABASE peer")
        asyncio.run(queue_peer(peer_url, asked.queue))
        queue_celery(stack.environment["REDIS_URL"], asked.queue)
        for each in (url, peer_url):
            run(each, "VACUUM ANALYZE")
        live.say(f"{asked.queue} jobs wait in each queue")
        with workers("ours") as ours, workers("procrastinate") as rows, workers("celery") as messages:
            arms = {"ours": ours, "procrastinate": rows, "Celery's poll": messages}
            for number in range(asked.rounds):
                for arm in arms.values():
                    arm.round(asked.slots)
                rates = ", ".join(f"{name} {NODES * asked.slots / arm.walls[-1]:.0f}/s" for name, arm in arms.items())
                live.say(f"round {number + 1}/{asked.rounds}: {rates}")
                check_and_end(url, NODES * asked.slots)
    show(arms)


def queue_ours(count: int, slots: int) -> None:
    """Copies of one job a project."""
    with transaction() as session:
        for number in range(NODES):
            nodes.seen(session, claims.node(number), slots, 2)
        first = [make_job(session, state=JobState.QUEUED) for _ in range(PROJECTS)]
        rows = [copy_of(first[number % PROJECTS]) for number in range(count - PROJECTS)]
        session.execute(insert(Job), rows)


def copy_of(job: Job) -> dict[str, Any]:
    spec = JobSpec(model="base", training_file=job.training_file).model_dump()
    same = {name: getattr(job, name) for name in ("project_id", "model_id", "training_file", "training_digest")}
    return {**same, "id": ids.job_id(), "spec": spec, "seed": 0, "ranks": 1, "state": job.state, "body_sha256": ""}


async def queue_peer(url: str, count: int) -> None:
    async with claims.peer(url).open_async() as app:
        await app.schema_manager.apply_schema_async()
        await app.tasks["nothing"].batch_defer_async(*({"number": number} for number in range(count)))


def queue_celery(url: str, count: int) -> None:
    with claims.queue_of(url) as app, app.producer_or_acquire() as producer:
        for number in range(count):
            app.send_task("claims.nothing", (number,), producer=producer)


def check_and_end(url: str, claimed: int) -> None:
    """The round's attempts are all there, each of a job that runs; then the slots are free again."""
    ended = run(
        url,
        "WITH ended AS (UPDATE attempts SET ended_at = now(), outcome = 'finished' FROM jobs "
        "WHERE jobs.id = job_id AND jobs.state = 'running' AND ended_at IS NULL AND lease_until > now() "
        "RETURNING job_id) "
        "UPDATE jobs SET state = 'succeeded', finished_at = now() FROM ended WHERE jobs.id = ended.job_id",
    )
    if ended != claimed:
        raise SystemExit(f"{claimed} claims left {ended} open attempts")
    run(url, "DELETE FROM seat_devices")
    run(url, "UPDATE seats SET ended_at = now() WHERE ended_at IS NULL")


def run(url: str, statement: str) -> int:
    """Rows touched."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        touched = connection.execute(text(statement)).rowcount
    engine.dispose()
    return touched


@contextmanager
def workers(arm: str) -> Iterator[Arm]:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.arms.claims", arm, str(number)],
            cwd=Path(live.ROOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(NODES)
    ]
    try:
        for worker in started:
            answer(worker)
        yield Arm(started)
    finally:
        for worker in started:
            worker.kill()
            worker.wait()


def tell(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    print(line, file=worker.stdin, flush=True)


def answer(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"a worker ended: {' '.join(map(str, worker.args))}")
    return line


def show(arms: dict[str, Arm]) -> None:
    rows = []
    for name, arm in arms.items():
        p50 = 1000 * statistics.median(arm.seconds)
        spread = [len(arm.seconds) / len(arm.walls) / wall for wall in arm.walls]
        spread_told = f"{min(spread):.0f}-{max(spread):.0f}"
        against = f"{arms['ours'].rate / arm.rate:.2f} x"
        rows.append(
            (name, len(arm.seconds), f"{arm.rate:.0f}", spread_told, f"{p50:.1f}", f"{arm.p99_ms:.1f}", against)
        )
    live.table(("", "claims", "per s", "rounds", "p50 ms", "p99 ms", "ours against it"), rows)
    ours, rows_peer = arms["ours"], arms["procrastinate"]
    good = ours.rate >= GOAL_RATE and ours.p99_ms <= GOAL_P99_MS
    live.verdict(
        f"{ours.rate:.0f} claims/s from {NODES} nodes, p99 {ours.p99_ms:.1f} ms: {ours.rate / rows_peer.rate:.2f} x "
        f"procrastinate's rate; the goal of {GOAL_RATE}/s and {GOAL_P99_MS} ms is {'met' if good else 'missed'}"
    )


if __name__ == "__main__":
    main()
