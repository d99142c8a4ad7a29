"""One read of the database for all who ask for the same thing at the same moment."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")
AT_ONCE = 8


class Looks(Generic[T]):
    """For one event loop. A read that has begun is not shared any more: it may be older than the question."""

    def __init__(self) -> None:
        self._next: dict[Hashable, list[asyncio.Future[T]]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def at(self, what: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns or raises; it runs in a thread."""
        mine: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if what in self._next:
            self._next[what].append(mine)
        else:
            self._next[what] = [mine]
            task = asyncio.create_task(self._read(what, read))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return await mine

    async def _read(self, what: Hashable, read: Callable[[], T]) -> None:
        asking = self._next.pop(what)
        try:
            found = await run_in_threadpool(read)
        except Exception as error:
            for each in asking:
                if not each.done():
                    each.set_exception(error)
            return
        for number, each in enumerate(asking, start=1):
            if not each.done():
                each.set_result(found)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # hundreds of answers written in one go would hold up all others
