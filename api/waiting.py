"""Waiting for a job to change without holding a thread or a connection."""

import asyncio
import logging
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from core.contract.errors import Unavailable
from core.db import jobs
from core.db.engine import reading
from core.db.notices import heard

log = logging.getLogger(__name__)

NET_SECONDS = 1.0


class Waiters:
    """One listener a process wakes them; a SELECT each second is the net beneath it. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._awaited: dict[str, set[tuple[int, asyncio.Event]]] = {}
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    def release(self) -> None:
        """Ends every wait, now and from now on: the process is about to stop."""
        self._closed = True
        for job_id in list(self._awaited):
            self._wake(job_id)

    async def stop(self) -> None:
        self.release()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def change(self, job_id: str, version: int, seconds: float) -> None:
        """Returns when the job's version is no longer `version`, or the time is over, or nobody may wait."""
        if self._closed or self._count >= self._most:
            return
        mine = (version, asyncio.Event())
        self._awaited.setdefault(job_id, set()).add(mine)
        self._count += 1
        try:
            async with asyncio.timeout(seconds):
                await mine[1].wait()
        except TimeoutError:
            return
        finally:
            self._count -= 1
            waiting = self._awaited[job_id]
            waiting.discard(mine)
            if not waiting:
                del self._awaited[job_id]

    def _wake(self, job_id: str, version: int | None = None) -> None:
        for known, event in self._awaited.get(job_id, ()):
            if known != version:
                event.set()

    async def _listen(self) -> None:
        while True:
            try:
                async for job_id in heard():
                    self._wake(job_id)
            except Unavailable as error:
                log.warning("not listening, looking each second instead: %s", error)
            await asyncio.sleep(NET_SECONDS)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(NET_SECONDS)
            if self._awaited:
                try:
                    now = await run_in_threadpool(_versions, list(self._awaited))
                except Unavailable as error:
                    log.warning("cannot look after %d waiters: %s", self._count, error)
                else:
                    for job_id, version in now.items():
                        self._wake(job_id, version)


def _versions(job_ids: list[str]) -> dict[str, int]:
    with reading() as session:
        return jobs.versions(session, job_ids)
