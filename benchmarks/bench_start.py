"""From the POST of a job to its claim, with Redis and without: python benchmarks/bench_start.py.

Goals: with it within 1 s; with Redis gone within one tick of the sweeper (10 s) + 2 s. The data was checked before; the
node has room. Gone: the server is stopped by SIGSTOP, so that it neither answers nor refuses, the slower of two ways.
"""

import argparse
import os
import signal
import statistics
import time

import httpx
import live
from small_jobs import create, ended, prepared

from core import settings
from core.db.engine import transaction
from core.db.tables import Attempt

GOAL_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    asked = parser.parse_args()
    os.environ |= {"PALATE_SLOTS": "2", "OMP_NUM_THREADS": "1"}
    tick = settings.WorkerSettings().sweep_seconds
    found: dict[str, list[float]] = {}
    with live.folder() as scratch, live.running(scratch / "home") as service:
        file = prepared(service, scratch)
        valkey = service.pid("valkey-server")
        with service.client() as client, service.database():
            started(client, file)  # the model is inspected and in the node's cache
            found["with Redis"] = [started(client, file) for _ in range(asked.jobs)]
            os.kill(valkey, signal.SIGSTOP)
            try:
                found["Redis gone"] = [started(client, file) for _ in range(asked.jobs)]
            finally:
                os.kill(valkey, signal.SIGCONT)
    goals = {"with Redis": GOAL_SECONDS, "Redis gone": tick + 2}
    rows = [
        (name, len(each), f"{statistics.median(each):.2f}", f"{max(each):.2f}", f"{goals[name]:.0f}")
        for name, each in found.items()
    ]
    live.table(("", "jobs", "p50 s", "most s", "goal s"), rows)
    good = all(max(each) <= goals[name] for name, each in found.items())
    live.verdict(
        f"A job starts within {max(found['with Redis']):.2f} s, with Redis gone within "
        f"{max(found['Redis gone']):.1f} s (a tick of {tick:.0f} s + 2 s allowed): goals {'met' if good else 'missed'}"
    )


def started(client: httpx.Client, file: str) -> float:
    """Seconds from the POST to the claim; returns when the job has ended and the node is free again."""
    began = time.time()
    job_id = create(client, file, 1)
    ended(client, job_id)
    with transaction() as session:
        return session.get_one(Attempt, (job_id, 1)).started_at.timestamp() - began


if __name__ == "__main__":
    main()
