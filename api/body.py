"""Reading what is sent: bodies in pieces, each within a time; JSON strictly."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from core.contract.errors import BadInput, TooLarge, TooSlow
from preferences.faults import RowFault
from preferences.strict_json import parse

DEPTH = 32
LEAST_BYTES_PER_SECOND = 16 << 10
# Above it the event loop, hence everybody else, would wait for the parser.
IN_A_THREAD_BYTES = 64 << 10


@dataclass(frozen=True)
class JsonBody:
    """`sha256` is of the canonical form: key order and white space do not count."""

    value: Any
    sha256: str


async def pieces(request: Request, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body as it comes; TooSlow when nothing comes for so long, or less than LEAST_BYTES_PER_SECOND on the average
    of so long; ClientDisconnect when the client leaves.

    Who sends a little now and then would hold a place for ever. Only the time counts in which we wait for the sender:
    that a store is slow is not his doing.
    """
    stream = aiter(request.stream())
    waited, came = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(idle_seconds):
                piece = await anext(stream, None)
        except TimeoutError:
            raise TooSlow(f"No byte of the body came for {idle_seconds:g} seconds; send it again.") from None
        if piece is None:
            return
        came += len(piece)
        waited += time.monotonic() - began
        if waited > idle_seconds:
            if came < LEAST_BYTES_PER_SECOND * waited:
                raise TooSlow(
                    f"Only {came} bytes of the body came in {waited:.1f} seconds; at least {LEAST_BYTES_PER_SECOND} a "
                    "second have to. Send it again, in smaller parts or from a faster line."
                )
            waited, came = 0.0, 0
        if piece:
            yield piece


def declared_bytes(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


async def read_json(request: Request, *, limit: int, idle_seconds: float) -> JsonBody:
    """Raises BadInput `invalid_json` for whatever two readers could read differently, TooLarge above `limit` bytes."""
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":
        raise _invalid(f"Send the body as application/json, not {kind.strip() or 'without a content type'}.")
    too_large = TooLarge(f"A JSON body has at most {limit} bytes; data goes to /v1/files or /v1/uploads.")
    if (declared_bytes(request) or 0) > limit:
        raise too_large
    body = bytearray()
    async for piece in pieces(request, idle_seconds):
        body += piece
        if len(body) > limit:
            raise too_large
    if len(body) > IN_A_THREAD_BYTES:
        return await run_in_threadpool(parsed, bytes(body))
    return parsed(bytes(body))


def parsed(body: bytes) -> JsonBody:
    try:
        value = parse(body, DEPTH)
    except RowFault as fault:
        where = f" (character {fault.offset})" if fault.offset is not None else ""
        raise _invalid(f"{fault.message}{where}") from None
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return JsonBody(value, hashlib.sha256(canonical.encode()).hexdigest())


def _invalid(message: str) -> BadInput:
    return BadInput(message, code="invalid_json")
