"""Bytes on their way into the store: parts of one multipart upload, two in flight, hashed along."""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from core.contract.errors import Conflict, TooLarge, Unavailable
from core.db import intakes
from core.db.engine import transaction
from core.objects import keys
from core.objects.store import Store

log = logging.getLogger(__name__)
T = TypeVar("T")

IN_FLIGHT = 2


class Transfer:
    """Of one file; begun by the first byte, so that a body without a file leaves no trace.

    Memory: `part_bytes` twice, since a part is filled only while fewer than two are under way.
    """

    def __init__(
        self,
        file_id: str,
        store: Store,
        threads: CapacityLimiter,
        *,
        part_bytes: int,
        limit: int,
        seen_every: float,
    ) -> None:
        self.file_id = file_id
        self.key = keys.file(file_id)
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._store = store
        self._threads = threads
        self._part_bytes = part_bytes
        self._limit = limit
        self._seen_every = seen_every
        self._upload: str | None = None
        self._part = bytearray()
        self._sending: deque[asyncio.Task[str]] = deque()
        self._tags: list[str] = []
        self._seen_at = 0.0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    async def write(self, chunk: bytes) -> None:
        self.bytes += len(chunk)
        if self.bytes > self._limit:
            raise too_large(self._limit)
        if self._upload is not None:
            await self._still_ours()
        self._digest.update(chunk)
        self._part += chunk
        while len(self._part) >= self._part_bytes:
            rest = self._part[self._part_bytes :]
            del self._part[self._part_bytes :]
            await self._send()
            self._part = rest

    async def finish(self) -> None:
        """All bytes are in the store under the key; no row knows of them yet."""
        if self._part:
            await self._send()
        while self._sending:
            self._tags.append(await self._sending.popleft())
        upload = await self._begun()
        await self._in_store(lambda: self._store.complete_multipart(self.key, upload, self._tags))

    async def abandon(self) -> None:
        """Has what was sent removed, unless the file has been committed; without Postgres the sweeper does."""
        if self._upload is None:
            return
        await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            await to_thread.run_sync(_remove, self.file_id)
        except Unavailable as error:
            log.warning("intake %s is left to the sweeper: %s", self.file_id, error)

    async def _send(self) -> None:
        upload = await self._begun()
        await self._still_ours()
        body = bytes(self._part)
        self._part = bytearray()
        number = len(self._tags) + len(self._sending) + 1
        send = self._in_store(lambda: self._store.upload_part(self.key, upload, number, body))
        self._sending.append(asyncio.create_task(send))
        while len(self._sending) >= IN_FLIGHT:
            self._tags.append(await self._sending.popleft())

    async def _begun(self) -> str:
        """The store's name of the upload; the row is committed before the first part."""
        if self._upload is None:
            self._upload = await self._in_store(partial(_begin, self._store, self.file_id, self.key))
            self._seen_at = time.monotonic()
        return self._upload

    async def _still_ours(self) -> None:
        if time.monotonic() - self._seen_at < self._seen_every:
            return
        self._seen_at = time.monotonic()
        if not await to_thread.run_sync(_seen, self.file_id):
            raise given_up(self.file_id)

    async def _in_store(self, call: Callable[[], T]) -> T:
        return await to_thread.run_sync(call, limiter=self._threads)


def too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"A file sent to /v1/files has at most {limit} bytes; send a larger one in parts to /v1/uploads, or split it.",
        param="file",
    )


def given_up(file_id: str) -> Conflict:
    return Conflict(f"The upload of {file_id} stood still for too long and was removed; send it again.", retry=True)


def _begin(store: Store, file_id: str, key: str) -> str:
    upload = store.begin_multipart(key)
    try:
        with transaction() as session:
            intakes.begin(session, file_id=file_id, object_key=key, store_upload_id=upload)
    except Unavailable:
        store.abort_multipart(key, upload)
        raise
    return upload


def _seen(file_id: str) -> bool:
    with transaction() as session:
        return intakes.seen(session, file_id)


def _remove(file_id: str) -> None:
    with transaction() as session:
        intakes.remove(session, file_id)
