"""Waiting for a job to change without holding a thread or a connection."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from api.places import Places
from core.contract.errors import Unavailable
from core.db import jobs
from core.db.engine import reading
from core.db.notices import heard

log = logging.getLogger(__name__)

NET_SECONDS = 1.0


@dataclass(eq=False)
class Watch:
    """`known`: the version that was read; None until then. `over`: nobody may wait any more."""

    known: int | None = None
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def change(self, version: int, seconds: float) -> bool:
        """Returns when the job may have another version by now; False when the time is over, or the waiting itself."""
        self.known = version
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return not self.over


class Waiters:
    """One listener a process wakes them; a SELECT each second is the net beneath it. For one event loop.

    `most`: who may wait at once; of them a project has its share (api.places).
    """

    def __init__(self, most: int) -> None:
        self._places = Places(most, "waiting requests")
        self._awaited: dict[str, set[Watch]] = {}
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    def release(self) -> None:
        """Ends every wait, now and from now on: the process is about to stop."""
        self._closed = True
        for watches in self._awaited.values():
            for watch in watches:
                watch.over = True
                watch.changed.set()

    async def stop(self) -> None:
        self.release()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @contextmanager
    def watching(self, job_id: str, project_id: str) -> Iterator[Watch | None]:
        """Begun before the job is read, so that no change falls between reading and waiting; None: nobody may wait."""
        with self._places.one_if_any(project_id) as taken:
            if self._closed or not taken:
                yield None
                return
            mine = Watch()
            self._awaited.setdefault(job_id, set()).add(mine)
            try:
                yield mine
            finally:
                waiting = self._awaited[job_id]
                waiting.discard(mine)
                if not waiting:
                    del self._awaited[job_id]

    def _wake(self, job_id: str, version: int | None = None) -> None:
        for watch in self._awaited.get(job_id, ()):
            if version is None or watch.known not in (None, version):
                watch.changed.set()

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
                    log.warning("cannot look after %d waiters: %s", self._places.taken, error)
                else:
                    for job_id, version in now.items():
                        self._wake(job_id, version)


def _versions(job_ids: list[str]) -> dict[str, int]:
    with reading() as session:
        return jobs.versions(session, job_ids)
