"""500 clients that wait for jobs to change: how soon they hear, and what /healthz takes meanwhile. Goal < 50 ms (p99).

First ten at each of 50 jobs, one job changing at a time; then all 500 at one job, which changes again and again.
Client and service share the cores. The peer is /healthz with nobody waiting, in the same run.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from functools import partial
from typing import Any

import live
from bench_api import prepared, quantile
from openloop import Client, arrivals

from core.db import events
from core.db.engine import transaction
from core.db.events import NewEvent

JOBS = "/v1/fine_tuning/jobs"
PROBES = 50.0
ARRIVED_SECONDS = 3.0


class Crowd:
    """Clients that wait, read, and wait again; `heard` in milliseconds since the change had committed."""

    def __init__(self, client: Client, jobs: list[str], each: int) -> None:
        self._client, self._jobs, self._each = client, jobs, each
        self._changed: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting: dict[str, int] = dict.fromkeys(jobs, 0)
        self.heard: list[float] = []

    async def __aenter__(self) -> "Crowd":
        self._tasks = [asyncio.create_task(self._wait(job)) for job in self._jobs for _ in range(self._each)]
        await self.settled()
        await asyncio.sleep(ARRIVED_SECONDS)  # all of them came at once, which no figure is about
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, job: str) -> None:
        version = (await self._client.json("GET", f"{JOBS}/{job}"))["palate"]["version"]
        while True:
            self.waiting[job] += 1
            _, answer = await self._client.call("GET", f"{JOBS}/{job}?wait=60&since={version}")
            self.waiting[job] -= 1
            now = json.loads(answer)["palate"]["version"]
            if now != version:
                self.heard.append(1000 * (time.perf_counter() - self._changed[job]))
            version = now

    async def settled(self) -> None:
        """Everybody waits again."""
        while sum(self.waiting.values()) < len(self._jobs) * self._each:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)

    async def change(self, job: str) -> None:
        self._changed[job] = await asyncio.to_thread(changed, job)
        await self.settled()


def changed(job: str) -> float:
    with transaction() as session:
        events.append(session, job, NewEvent("news"))
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=15)
    asked = parser.parse_args()
    with live.folder() as scratch, live.running(scratch / "home") as service:
        prepared(service, scratch, 1_000)
        with service.database():
            asyncio.run(measure(service, asked))


async def measure(service: live.Service, asked: argparse.Namespace) -> None:
    client, draw = Client(service.url, service.api_key), random.Random(7)
    jobs = [f"ftjob-bench{number}" for number in range(101, 151)]
    rows = [("nobody waits", *figures(await probed(client, asked.seconds, draw)), "", "", "")]
    crowds = {f"{len(jobs)} jobs, one changes": jobs, "one job": jobs[:1]}
    for name, those in crowds.items():
        async with Crowd(client, those, asked.waiters // len(those)) as crowd:
            changes = asyncio.create_task(keep_changing(crowd, those))
            probes = await probed(client, asked.seconds, draw)
            changes.cancel()
            await asyncio.gather(changes, return_exceptions=True)
            rows.append((f"{asked.waiters} at {name}", *figures(probes), *figures(crowd.heard)))
    client.close()
    head = ("", "healthz p50 ms", "p99", "most", "heard after p50 ms", "p99", "most")
    live.table(head, rows)
    live.verdict(
        f"{asked.waiters} waiters: /healthz p99 {rows[1][2]} ms ({rows[2][2]} ms when all are woken at once; goal 50), "
        f"{rows[0][2]} ms with nobody waiting; a change is heard after {rows[1][4]} ms (p50), {rows[1][5]} ms (p99)"
    )


async def keep_changing(crowd: Crowd, jobs: list[str]) -> None:
    for job in itertools.cycle(jobs):
        await crowd.change(job)


async def probed(client: Client, seconds: float, draw: random.Random) -> list[float]:
    call = partial(client.json, "GET", "/healthz")
    found, _ = await arrivals((("healthz", call) for _ in range(round(PROBES * seconds))), rate=PROBES, draw=draw)
    return found["healthz"]


def figures(values: list[float]) -> tuple[Any, ...]:
    return tuple(f"{each:.1f}" for each in (quantile(values, 50), quantile(values, 99), max(values)))


if __name__ == "__main__":
    main()
