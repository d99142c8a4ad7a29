"""Bodies that hold a place: too little on the average of a while is refused, and our own slowness is nobody's fault."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from fastapi import Request

from api.body import LEAST_BYTES_PER_SECOND, pieces
from core.contract.errors import TooSlow

IDLE_SECONDS = 0.2


def request_of(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def sender(count: int, size: int, seconds: float) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    """`size` bytes each so many seconds, `count` times."""
    left = count

    async def receive() -> MutableMapping[str, Any]:
        nonlocal left
        if seconds:
            await asyncio.get_running_loop().run_in_executor(None, slept, seconds)
        left -= 1
        return {"type": "http.request", "body": b"x" * size, "more_body": left > 0}

    return receive


def slept(seconds: float) -> None:
    threading.Event().wait(seconds)


async def read(request: Request, *, pause: float = 0.0) -> int:
    total = 0
    async for piece in pieces(request, IDLE_SECONDS):
        total += len(piece)
        if pause:
            await asyncio.get_running_loop().run_in_executor(None, slept, pause)
    return total


@pytest.mark.parametrize("size", [70, int(LEAST_BYTES_PER_SECOND * 0.02)])
def test_less_than_the_least_rate_is_refused(size: int) -> None:
    """The second sends about a third of it: more than nothing, and still enough to hold a place for a day."""
    with pytest.raises(TooSlow, match=f"at least {LEAST_BYTES_PER_SECOND} a second"):
        asyncio.run(read(request_of(sender(50, size, 0.06))))


def test_a_modest_line_is_fast_enough() -> None:
    size = int(LEAST_BYTES_PER_SECOND * 0.12)
    assert asyncio.run(read(request_of(sender(8, size, 0.05)))) == 8 * size


def test_a_slow_store_is_not_the_senders_doing() -> None:
    """He sends as fast as he is read: 100 bytes each time, for longer than the window."""
    assert asyncio.run(read(request_of(sender(8, 100, 0)), pause=0.06)) == 800
