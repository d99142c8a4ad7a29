"""One worker of one queue, in a process of its own: told how many, it claims so many, and answers how long each took.

`python -m benchmarks.arms.claims ours|procrastinate|celery NUMBER`. Each claims as cheaply as its library can: an
attempt with its lease through core.db; procrastinate's own fetch_job; a message polled and acknowledged by Celery's
transport. None of them runs anything.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from celery import Celery
from procrastinate import App, PsycopgConnector

from core import ids
from core.db import attempts
from core.db.engine import transaction

# Claims one, or raises where there is nothing to claim.
Claim = Callable[[], Awaitable[None]]


class NothingLeft(Exception):
    """The queue is empty, or what is there may not be taken."""


def node(number: int) -> str:
    return f"node-{number}"


def queue_of(url: str) -> Celery:
    """Where the peer's messages lie: a Valkey database of its own."""
    app = Celery("claims", broker=url.rpartition("/")[0] + "/7")
    app.conf.task_ignore_result = True
    app.task(name="claims.nothing")(lambda number: None)
    return app


def peer(url: str) -> App:
    """`url`: of the peer's own database on the same server."""
    logging.getLogger("procrastinate").setLevel(logging.ERROR)  # it warns of the module that it is made in
    app = App(connector=PsycopgConnector(conninfo=url.replace("+psycopg", ""), min_size=1, max_size=1))
    app.task(name="nothing")(lambda number: None)
    return app


async def work(number: int, claim: Claim) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = []
        began = time.monotonic()
        for _ in range(int(line)):
            at = time.perf_counter()
            await claim()
            seconds.append(time.perf_counter() - at)
        print(json.dumps({"began": began, "ended": time.monotonic(), "seconds": seconds}), flush=True)


async def ours(number: int) -> None:
    async def claim() -> None:
        with transaction() as session:
            if attempts.claim(session, node=node(number), owner=ids.row_id(), lease_seconds=60) is None:
                raise NothingLeft

    await work(number, claim)


async def procrastinate(number: int) -> None:
    async with peer(os.environ["PEER_DATABASE_URL"]).open_async() as app:
        worker = await app.job_manager.register_worker()

        async def claim() -> None:
            if await app.job_manager.fetch_job(None, worker) is None:
                raise NothingLeft

        await work(number, claim)


async def celery(number: int) -> None:
    with queue_of(os.environ["REDIS_URL"]).connection() as connection, connection.SimpleQueue("celery") as queue:

        async def claim() -> None:
            queue.get_nowait().ack()

        await work(number, claim)


ARMS: dict[str, Callable[[int], Any]] = {"ours": ours, "procrastinate": procrastinate, "celery": celery}

if __name__ == "__main__":
    asyncio.run(ARMS[sys.argv[1]](int(sys.argv[2])))
