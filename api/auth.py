"""Who asks: the bearer token, remembered for at most five seconds."""

import hashlib
import time

from starlette.concurrency import run_in_threadpool

from api.last_use import LastUse
from core.db import keys
from core.db.engine import reading
from core.db.keys import Caller

LIVES_SECONDS = 5.0
MOST = 10_000


class Callers:
    """Callers by the hash of their token. Only good ones are remembered: a wrong token is looked up each time."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._last_use = LastUse()

    async def of(self, token: str) -> Caller:
        """Raises Unauthenticated. A key that is revoked or expires is refused five seconds later at the latest."""
        digest = hashlib.sha256(token.encode()).digest()
        until, caller = self._known.get(digest, (0.0, None))
        asked_at = time.monotonic()
        if caller is None or asked_at >= until:
            self._known.pop(digest, None)
            caller = await run_in_threadpool(_look_up, token)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[digest] = (asked_at + LIVES_SECONDS, caller)
        self._last_use.note(caller.key_id)
        return caller

    async def stop(self) -> None:
        await self._last_use.stop()


def _look_up(token: str) -> Caller:
    with reading() as session:
        return keys.authenticate(session, token)
