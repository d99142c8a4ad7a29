"""Giving out an object: by a presigned URL, or through this process where clients cannot reach the store."""

import ipaddress
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from api.deps import Services
from api.ranges import Range, requested


@dataclass(frozen=True)
class Object:
    """What is given out: `key` in the store, `bytes` and `sha256` as its row has them."""

    key: str
    filename: str
    bytes: int
    sha256: str


async def send(request: Request, services: Services, wanted: Object) -> Response:
    if redirects(request, services.settings.downloads):
        return RedirectResponse(services.store.presign_get(wanted.key, filename=wanted.filename), 302)
    return await proxy(request, services, wanted)


def redirects(request: Request, downloads: str) -> bool:
    """`auto`: the embedded store listens on loopback, so only who reached us there reaches it."""
    if downloads != "auto":
        return downloads == "redirect"
    server = request.scope.get("server")
    try:
        return server is not None and ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False


async def proxy(request: Request, services: Services, wanted: Object) -> Response:
    """One chunk of at most 1 MiB in memory; no thread is held between two of them."""
    etag = f'"{wanted.sha256}"'
    part = None
    if request.headers.get("if-range", etag) == etag:
        part = requested(request.headers.get("range"), wanted.bytes)
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(wanted.filename)}",
        "content-length": str(wanted.bytes if part is None else part.last - part.first + 1),
    }
    if part is not None:
        headers["content-range"] = f"bytes {part.first}-{part.last}/{wanted.bytes}"
    chunks = await to_thread.run_sync(partial(_open, services, wanted.key, part), limiter=services.store_threads)
    return StreamingResponse(
        _stream(chunks, services.store_threads),
        206 if part else 200,
        headers,
        media_type="application/octet-stream",
    )


def _open(services: Services, key: str, part: Range | None) -> Iterator[bytes]:
    first, last = part if part else (None, None)
    return services.store.get(key, first=first, last=last)


async def _stream(chunks: Iterator[bytes], threads: CapacityLimiter) -> AsyncIterator[bytes]:
    while chunk := await to_thread.run_sync(next, chunks, b"", limiter=threads):
        yield chunk
