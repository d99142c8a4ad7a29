"""What the parts behind the API are at: for readiness."""

import asyncio
from collections.abc import Callable

from anyio import CapacityLimiter, move_on_after, to_thread

from core.contract.errors import Unavailable
from core.db import migrate
from core.db.engine import engine
from core.objects.store import Store

AWAY = "away"
PROBE_SECONDS = 3.0
PROBES = 6

Seen = tuple[str, str, str]


class Parts:
    """For one event loop, with threads of its own, which must not wait behind others. No key is needed to ask: all who
    do so while one looks get what that one sees."""

    def __init__(self, store: Store, rings: Callable[[], bool]) -> None:
        """`rings` sends one message at once and says whether the queue took it."""
        self._looks = (database_state, store_state(store), queue_state(rings))
        self._threads = CapacityLimiter(PROBES)
        self._looking: asyncio.Task[Seen] | None = None

    async def seen(self) -> Seen:
        """Of database, store and queue."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Seen:
        database, store, queue = await asyncio.gather(*map(self._probed, self._looks))
        return database, store, queue

    async def _probed(self, look: Callable[[], str]) -> str:
        """What `look` says, or `away` where it says nothing in time; its thread is left to end by itself."""
        with move_on_after(PROBE_SECONDS):
            return await to_thread.run_sync(look, limiter=self._threads, abandon_on_cancel=True)
        return AWAY


def database_state() -> str:
    try:
        migrate.check(engine())
    except Unavailable:
        return AWAY
    except migrate.SchemaOlder as error:
        return error.message
    return "ok"


def store_state(store: Store) -> Callable[[], str]:
    return lambda: "ok" if store.has_bucket() else AWAY


def queue_state(rings: Callable[[], bool]) -> Callable[[], str]:
    return lambda: "ok" if rings() else AWAY
