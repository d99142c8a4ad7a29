"""Requests that come when they come, whether the ones before are answered or not; over few kept connections."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

Call = Callable[[], Awaitable[Any]]


class Client:
    """A bare HTTP/1.1 client: what it costs must not be taken for the service's own."""

    def __init__(self, url: str, key: str) -> None:
        self._host, self._port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self._head = f"Host: localhost\r\nAuthorization: Bearer {key}\r\n"
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
        sent = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        length = f"Content-Length: {len(sent)}\r\n" if method == "POST" else ""
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{kind}{length}\r\n".encode() + sent)
        head = await reader.readuntil(b"\r\n\r\n")
        status, size = int(head[9:12]), 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                size = int(line[15:])
        answer = await reader.readexactly(size)
        self._free.append((reader, writer))
        return status, answer

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """Raises for what is not 200."""
        status, answer = await self.call(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:200]!r}")
        return json.loads(answer)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


async def arrivals(
    calls: Iterable[tuple[str, Call]], *, rate: float, draw: random.Random
) -> tuple[dict[str, list[float]], float]:
    """Milliseconds of each call by its name, counted from when it was due (Poisson, `rate` a second), and the seconds
    until the last answer.
    """
    found: dict[str, list[float]] = defaultdict(list)
    under_way: set[asyncio.Task[None]] = set()
    began = due = time.perf_counter()

    async def one(name: str, call: Call, due: float) -> None:
        await call()
        found[name].append(1000 * (time.perf_counter() - due))

    for name, call in calls:
        due += draw.expovariate(rate)
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(one(name, call, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return found, time.perf_counter() - began
