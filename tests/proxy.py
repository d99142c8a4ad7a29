"""A TCP proxy between two parts: latency, silence, refusal and resets, switched while the parts talk."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit, urlunsplit

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CHUNK = 1 << 16


class Cut(Exception):
    """Raised by a Link: these last bytes still pass, then both sides lose the connection."""

    def __init__(self, last: bytes = b"") -> None:
        self.last = last


class Link:
    """One connection, for proxies that look into what passes: what comes back from here is what goes on."""

    def sent(self, data: bytes) -> bytes:
        return data

    def answered(self, data: bytes) -> bytes:
        return data


class Proxy:
    """`with Proxy(url) as proxy:`; `proxy.url` is `url` through it. It lets everything pass until it is told not to."""

    def __init__(self, url: str, link: Callable[[], Link] = Link) -> None:
        self._link = link
        self._target = urlsplit(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._latency = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        user, at, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Every connection is reset, and every new one at once."""
        self._do(self._cut(refuse=True))

    def reset(self) -> None:
        """Every connection is reset; new ones pass."""
        self._do(self._cut(refuse=False))

    def hang(self) -> None:
        """Connections are accepted and stay, and not one byte passes."""
        self._do(self._set(passes=False))

    def delay(self, seconds: float) -> None:
        """For each piece of at most 64 KiB, in each direction."""
        self._latency = seconds

    def heal(self) -> None:
        self._latency = 0.0
        self._do(self._set(passes=True))

    async def _set(self, *, passes: bool) -> None:
        self._refuses = False
        (self._open.set if passes else self._open.clear)()

    async def _cut(self, *, refuse: bool) -> None:
        self._refuses = refuse
        for writer in list(self._writers):
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            reset(writer)
            return
        try:
            there = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            reset(writer)
            return
        ends = {writer, there[1]}
        self._writers |= ends
        link = self._link()
        await asyncio.gather(
            self._pump(reader, there[1], link.sent, writer), self._pump(there[0], writer, link.answered, there[1])
        )
        self._writers -= ends

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[bytes], bytes],
        back: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._latency:
                    await asyncio.sleep(self._latency)
                await self._open.wait()
                writer.write(look(data))
                await writer.drain()
        except Cut as cut:
            if cut.last:
                writer.write(cut.last)
                writer.close()
            else:
                reset(writer)
            reset(back)
        except OSError:
            reset(writer)
        else:
            writer.close()

    def _do(self, act: Coroutine[Any, Any, Any]) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(act, self._loop)
        return done.result(10)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        await self._cut(refuse=True)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """The other side sees `connection reset`, not an end of file."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    if writer.transport is not None:
        writer.transport.abort()
