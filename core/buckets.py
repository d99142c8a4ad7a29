"""Buckets that refill: GCRA (the generic cell rate algorithm, ATM Forum TM 4.0), in this process or in Valkey for all.

A bucket is one number: how many seconds of refilling it lacks. Drawing n adds n intervals, as far as there is room.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.contract.errors import Unavailable

# Rounding of binary fractions must not cost a draw.
GRAIN = 1e-6
CONNECTIONS = 4


@dataclass(frozen=True)
class Rate:
    """So many a second for ever, `burst` at once."""

    per_second: float
    burst: int

    @property
    def interval(self) -> float:
        return 1 / self.per_second

    @property
    def window(self) -> float:
        """Seconds in which an empty bucket fills."""
        return self.burst * self.interval


@dataclass(frozen=True)
class Drawn:
    """`granted` of those asked for; seconds until the bucket is full again, and until it holds one, 0 where it does."""

    granted: int
    full_in: float
    one_in: float


def draw(lacks: float, wanted: int, rate: Rate) -> tuple[float, Drawn]:
    """From a bucket that lacks so many seconds: what it lacks then, and what was drawn."""
    free = math.floor((rate.window - lacks) / rate.interval + GRAIN)
    granted = max(0, min(wanted, free))
    lacks += granted * rate.interval
    return lacks, Drawn(granted, lacks, max(0.0, lacks + rate.interval - rate.window) if granted == free else 0.0)


class Buckets:
    """Of one process, by name; `most` of them, of which full ones are forgotten first, then all."""

    def __init__(self, rate: Rate, most: int = 10_000, now: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._most = most
        self._now = now
        self._full_at: dict[str, float] = {}

    def draw(self, name: str, wanted: int = 1) -> Drawn:
        now = self._now()
        if name not in self._full_at and len(self._full_at) >= self._most:
            self._forget(now)
        lacks, drawn = draw(max(0.0, self._full_at.get(name, now) - now), wanted, self.rate)
        self._full_at[name] = now + lacks
        return drawn

    def give_back(self, name: str) -> None:
        """One that was drawn and not used."""
        if name in self._full_at:
            self._full_at[name] -= self.rate.interval

    def __len__(self) -> int:
        return len(self._full_at)

    def _forget(self, now: float) -> None:
        self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        if len(self._full_at) >= self._most:
            self._full_at.clear()


# What `draw` does, by the clock of the server; the bucket is gone when it is full.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local wanted, interval, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lacks = math.max(0, tonumber(redis.call('GET', KEYS[1]) or now) - now)
local free = math.floor((window - lacks) / interval + 1e-6)
local granted = math.max(0, math.min(wanted, free))
lacks = lacks + granted * interval
if granted > 0 then
  redis.call('SET', KEYS[1], string.format('%.6f', now + lacks), 'PX', math.ceil(lacks * 1000))
end
local one_in = 0
if granted == free then one_in = math.max(0, lacks + interval - window) end
return {granted, string.format('%.6f', lacks), string.format('%.6f', one_in)}
"""


class SharedBuckets:
    """Of all processes that name this Valkey (or Redis); one call a draw, of at most `seconds`. For one loop."""

    def __init__(self, url: str, rate: Rate, prefix: str, seconds: float) -> None:
        self.rate = rate
        self._prefix = prefix
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=seconds,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._script = self._redis.register_script(SCRIPT)

    async def draw(self, name: str, wanted: int = 1) -> Drawn:
        """Raises Unavailable."""
        try:
            found: list[Any] = await self._script(
                keys=[self._prefix + name], args=[wanted, repr(self.rate.interval), repr(self.rate.window)]
            )
        except (RedisError, OSError, RuntimeError) as error:  # uvloop's of a connection that was lost meanwhile
            raise Unavailable(f"Valkey does not count: {error}", code="queue_away") from None
        return Drawn(int(found[0]), float(found[1]), float(found[2]))

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)
