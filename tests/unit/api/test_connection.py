"""An answer that is not read is not held for ever; one that is read slowly is."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import uvicorn

from api import connection
from api.admission import Admission
from api.connection import Connection
from api.refusals import Refusals
from tests.waiting import until

STALLED_SECONDS = 0.4
PIECE, PIECES = b"x" * (1 << 20), 24


async def large(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Any]) -> None:
    """An app with one answer of 24 MiB."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    for number in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": number < PIECES - 1})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Admission]]:
    """The port of a server in this process, and who is connected."""
    monkeypatch.setattr(connection, "STALLED_SECONDS", STALLED_SECONDS)
    admission = Admission(10, Refusals())
    http = cast(type[Any], partial(Connection, admission=admission))
    config = uvicorn.Config(cast(Any, large), http=http, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        yield listener.getsockname()[1], admission
        server.should_exit = True
        thread.join(10)


def asked(port: int) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", port), timeout=10)
    wire.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return wire


def test_who_does_not_read_is_let_go(served: tuple[int, Admission]) -> None:
    port, admission = served
    with asked(port):
        until(lambda: admission.count == 1, "the connection", every=0.01)
        until(lambda: admission.count == 0, "its end", 5, every=0.01)


def test_who_reads_slowly_gets_all(served: tuple[int, Admission]) -> None:
    port, _ = served
    with asked(port) as wire:
        began, size = time.monotonic(), 0
        while piece := wire.recv(1 << 20):
            size += len(piece)
            threading.Event().wait(0.03)
    assert size > len(PIECE) * PIECES
    assert time.monotonic() - began > STALLED_SECONDS
