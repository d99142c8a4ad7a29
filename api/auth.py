"""Who asks: the bearer token, remembered for at most five seconds."""

import hashlib
import math
import time

from starlette.concurrency import run_in_threadpool

from api.last_use import LastUse
from api.refusals import NO_KEY, TOO_MANY, WRONG_KEY, Refusals
from core.buckets import Buckets, Rate
from core.contract.errors import RateLimited, Unauthenticated
from core.db import keys
from core.db.engine import reading
from core.db.keys import Caller

LIVES_SECONDS = 5.0
MOST = 10_000


class Callers:
    """Callers by the hash of their token. Only good ones are remembered: a wrong token is looked up each time, and of
    one address only so many in a minute. Who was good before is looked up in any case.
    """

    def __init__(self, refusals: Refusals, wrong_keys: int) -> None:
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._last_use = LastUse()
        self._refusals = refusals
        self._unknown = Buckets(Rate(wrong_keys / 60, wrong_keys)) if wrong_keys else None

    async def of(self, token: str | None, address: str) -> Caller:
        """Raises Unauthenticated or RateLimited. A key that is revoked or expires is refused five seconds later at the
        latest."""
        if token is None:
            self._refusals.count(address, NO_KEY)
            raise Unauthenticated(
                "No API key was sent; send the header `Authorization: Bearer plt_…`.", code="missing_api_key"
            )
        digest = hashlib.sha256(token.encode()).digest()
        until, caller = self._known.get(digest, (0.0, None))
        asked_at = time.monotonic()
        if caller is None or asked_at >= until:
            if caller is None:
                self._draw(token, address)
            wrong, was_known = False, caller is not None
            try:
                caller = await run_in_threadpool(_look_up, token)
            except Unauthenticated:
                wrong = True
                self._known.pop(digest, None)
                self._refusals.count(address, WRONG_KEY, keys.id_of(token))
                raise
            finally:
                if self._unknown is not None and not wrong and not was_known:
                    self._unknown.give_back(address)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[digest] = (asked_at + LIVES_SECONDS, caller)
        self._last_use.note(caller.key_id)
        return caller

    async def stop(self) -> None:
        await self._last_use.stop()

    def _draw(self, token: str, address: str) -> None:
        if self._unknown is None:
            return
        drawn = self._unknown.draw(address)
        if not drawn.granted:
            self._refusals.count(address, TOO_MANY, keys.id_of(token))
            again_in = max(1, math.ceil(drawn.one_in))
            raise RateLimited(
                f"Of one address {self._unknown.rate.burst} keys in a minute are looked up that turn out to be wrong, "
                f"and that many came. Come again in {again_in} s with a right one.",
                retry_after=again_in,
            )


def _look_up(token: str) -> Caller:
    with reading() as session:
        return keys.authenticate(session, token)
