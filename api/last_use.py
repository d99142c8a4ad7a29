"""When keys were last used: beside the requests, at most once a minute a key."""

import asyncio
import logging
import time

from starlette.concurrency import run_in_threadpool

from core.contract.errors import Unavailable
from core.db import keys

MOST = 10_000
log = logging.getLogger(__name__)


class LastUse:
    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, key_id: str) -> None:
        """On the event loop; waits for nothing."""
        now = time.monotonic()
        if now < self._due.get(key_id, 0.0):
            return
        if len(self._due) >= MOST:
            self._due.clear()
        self._due[key_id] = now + keys.USED_SECONDS
        task = asyncio.create_task(_write(key_id))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def stop(self) -> None:
        """What is under way is written."""
        await asyncio.gather(*self._writing)


async def _write(key_id: str) -> None:
    try:
        await run_in_threadpool(keys.used, key_id)
    except Unavailable as error:
        log.warning("the use of key %s was not written: %s", key_id, error.message)
