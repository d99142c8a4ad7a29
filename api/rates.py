"""Requests of a key: a bucket that all processes share, of which each draws some at once, so that few requests wait."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field

from core.buckets import Buckets, Drawn, Rate, SharedBuckets
from core.contract.errors import RateLimited, Unavailable

log = logging.getLogger(__name__)

PREFIX = "palate:requests:"
# Drawn at once, and no more than this part of the burst; what a process does not use is lost to the others.
LOT, PART = 10, 10
MOST_LEASES = 10_000
# Of waiting for Valkey; after that this process counts by itself for so long.
WAIT_SECONDS = 0.1
AWAY_SECONDS = 1.0


@dataclass(frozen=True)
class Standing:
    """Of a key at a request: `limit` at once, how many are left, seconds until all are; `again_in`: 0 when admitted."""

    limit: int
    left: int
    full_in: float
    window: float
    again_in: float

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As OpenAI's, and as draft-ietf-httpapi-ratelimit-headers has them since its eighth version."""
        return [
            (b"x-ratelimit-limit-requests", b"%d" % self.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % self.left),
            (b"x-ratelimit-reset-requests", b"%dms" % math.ceil(1000 * self.full_in)),
            (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (self.limit, math.ceil(self.window))),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (self.left, math.ceil(self.full_in))),
        ]


@dataclass(eq=False)
class Lease:
    """What this process has drawn for a key and not used. `full_at`: when the bucket is full again, as last heard."""

    left: int = 0
    until: float = 0.0
    full_at: float = 0.0
    asking: int = 0
    drawing: "asyncio.Task[Drawn] | None" = field(default=None)


class Rates:
    """For one event loop. Without Valkey, or where it is slow, this process's own buckets count: never an error."""

    def __init__(self, shared: SharedBuckets) -> None:
        self.rate: Rate = shared.rate
        self._shared = shared
        self._own = Buckets(shared.rate)
        self._lot = max(1, min(LOT, shared.rate.burst // PART))
        self._leases: dict[str, Lease] = {}
        self._away_until = 0.0
        self._away = False

    async def ask(self, key_id: str) -> Standing:
        lease = self._lease(key_id)
        if lease.left and time.monotonic() >= lease.until:
            lease.left = 0
        lease.asking += 1
        try:
            while not lease.left:
                drawn = await asyncio.shield(lease.drawing or self._begin(key_id, lease))
                if not drawn.granted:
                    return self._standing(lease, max(drawn.one_in, self.rate.interval))
            lease.left -= 1
        finally:
            lease.asking -= 1
        if lease.left <= self._lot // 2 and lease.drawing is None:
            self._begin(key_id, lease)
        return self._standing(lease, 0.0)

    async def close(self) -> None:
        under_way = [each.drawing for each in self._leases.values() if each.drawing is not None]
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._shared.close()

    def _lease(self, key_id: str) -> Lease:
        if key_id not in self._leases:
            if len(self._leases) >= MOST_LEASES:
                self._leases = {name: each for name, each in self._leases.items() if each.asking or each.drawing}
            self._leases[key_id] = Lease()
        return self._leases[key_id]

    def _begin(self, key_id: str, lease: Lease) -> "asyncio.Task[Drawn]":
        lease.drawing = asyncio.create_task(self._draw(key_id, lease))
        return lease.drawing

    async def _draw(self, key_id: str, lease: Lease) -> Drawn:
        try:
            drawn = await self._drawn(key_id, max(self._lot, lease.asking))
            now = time.monotonic()
            lease.left += drawn.granted
            lease.until = now + self.rate.window
            lease.full_at = now + drawn.full_in
            return drawn
        finally:
            lease.drawing = None

    async def _drawn(self, key_id: str, wanted: int) -> Drawn:
        if time.monotonic() >= self._away_until:
            try:
                drawn = await self._shared.draw(key_id, wanted)
            except Unavailable as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                if not self._away:
                    log.warning("each process counts requests by itself until it can again: %s", error)
                self._away = True
            else:
                if self._away:
                    log.warning("requests are counted for all processes together again")
                self._away = False
                return drawn
        return self._own.draw(key_id, wanted)

    def _standing(self, lease: Lease, again_in: float) -> Standing:
        full_in = max(0.0, lease.full_at - time.monotonic())
        free = math.floor((self.rate.window - full_in) / self.rate.interval + 1e-6)
        left = 0 if again_in else max(0, min(self.rate.burst - 1, free + lease.left))
        return Standing(self.rate.burst, left, full_in, self.rate.window, again_in)


def refusal(standing: Standing, rate: Rate) -> RateLimited:
    return RateLimited(
        f"This key has used the {rate.burst} requests that it may make at once; {rate.per_second:g} a second "
        f"are given back. Come again in {max(1, math.ceil(standing.again_in))} s.",
        retry_after=math.ceil(standing.again_in),
    )
