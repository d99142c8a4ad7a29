"""What comes before a request is whole: bounded in bytes, lines and time, and no crowd of it shuts others out."""

import re
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path

import httpx
import pytest

from api.admission import raise_descriptors
from api.connection import HEAD_BYTES, HEAD_SECONDS, HEADERS, PIPELINED
from tests.integration.api.conftest import Server, Tenant, serve

MIB = 1 << 20
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
LAST = GET + b"Connection: close\r\n\r\n"
CHUNKED = b"POST /v1/fine_tuning/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + (
    b"Transfer-Encoding: chunked\r\n"
)


def connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(source, 0))


def read(wire: socket.socket) -> bytes:
    """All until the other side closes."""
    found = b""
    try:
        while piece := wire.recv(1 << 16):
            found += piece
    except ConnectionError:
        return found
    return found


def send_until_closed(server: Server, begin: bytes, pieces: Iterator[bytes]) -> tuple[int, bytes]:
    """How many bytes the server has taken, and its last words."""
    sent = 0
    with connect(server) as wire:
        try:
            wire.sendall(begin)
            for piece in pieces:
                wire.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            return sent, b""
        return sent, read(wire)


def resident(server: Server, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "headers": (GET, b"".join(b"X-%06d: %b\r\n" % (n, b"x" * 1_000) for n in range(1_000))),
    "short headers": (GET, b"A:\r\n" * 50_000),
    "one value": (GET + b"X: ", b"x" * MIB),
    "one name": (GET, b"x" * MIB),
    "the address": (b"GET /", b"x" * MIB),
    "the method": (b"", b"G" * MIB),
    "empty lines": (b"", b"\r\n" * (MIB // 2)),
    "a folded value": (GET + b"X: a\r\n", b" x\r\n" * (MIB // 4)),
    "trailers": (
        CHUNKED + b"\r\n2\r\n{}\r\n0\r\n",
        b"".join(b"X-%06d: %b\r\n" % (n, b"x" * 1_000) for n in range(1_000)),
    ),
    "one trailer": (CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: ", b"x" * MIB),
    "a chunk's extension": (CHUNKED + b"\r\n2;", b"x" * MIB),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_400_mib_that_are_no_request_cost_nothing(what: str, server: Server) -> None:
    begin, piece = ENDLESS[what]
    httpx.get(f"{server.url}/healthz")
    before, began = resident(server, "VmRSS"), time.monotonic()
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    sent, said = send_until_closed(server, begin, repeat(piece, 400 * MIB // len(piece)))
    assert sent < 16 * MIB, "it goes on reading"
    assert not said or said.split(b" ")[1] in (b"400", b"401", b"431")
    assert time.monotonic() - began < HEAD_SECONDS
    assert resident(server, "VmHWM") - before < 10 * MIB
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_400_mib_on_many_connections_cost_nothing(server: Server) -> None:
    """Each sends as much as one may: small heads are all taken, of large ones only so much at once."""
    with ExitStack() as opened:
        before = resident(server, "VmRSS")
        wires = [opened.enter_context(connect(server)) for _ in range(400)]
        for wire in wires:
            try:
                wire.sendall(GET + b"X: " + b"x" * (HEAD_BYTES - 1_000))
            except ConnectionError:
                continue
        small = opened.enter_context(connect(server))
        small.sendall(LAST)
        assert read(small).startswith(b"HTTP/1.1 200 ")
        assert resident(server, "VmRSS") - before < 20 * MIB


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"X: " + b"x" * (HEAD_BYTES - len(LAST) - 4) + b"\r\n", b"431"),
        (b"X: " + b"x" * (HEAD_BYTES - len(LAST) - 5) + b"\r\n", b"200"),
        (b"A: b\r\n" * (HEADERS - 1), b"431"),
        (b"A: b\r\n" * (HEADERS - 2), b"200"),
    ],
)
def test_as_large_as_a_head_may_be(rest: bytes, status: bytes, server: Server) -> None:
    with connect(server) as wire:
        wire.sendall(GET + rest + b"Connection: close\r\n\r\n")
        assert read(wire).split(b" ")[1] == status


def test_a_large_head_is_refused_in_words(server: Server) -> None:
    answer = httpx.get(f"{server.url}/healthz", headers={"x": "x" * HEAD_BYTES})
    assert (answer.status_code, answer.json()["error"]["code"]) == (431, "head_too_large")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].startswith("req_")
    with connect(server) as wire:
        wire.sendall(b"HELO localhost\r\n\r\n")
        assert b'"invalid_http"' in read(wire)


def test_a_body_is_no_head(server: Server, tenant: Tenant) -> None:
    """Of a request that comes in one piece, or in crumbs."""
    data = b'{"prompt":"a","chosen":"b","rejected":"c"}\n' * 5_000
    assert tenant.upload(data)
    body = b'{"model": "nobody", "training_file": "' + b"x" * (300 << 10) + b'"}'
    for sent in (body, iter([body[:100], *(bytes([each]) for each in body[100:400]), body[400:]])):
        answer = tenant.http.post("/v1/fine_tuning/jobs", content=sent, headers={"content-type": "application/json"})
        assert answer.json()["error"]["code"] != "head_too_large"
        assert answer.status_code == 400


def test_who_sends_many_before_the_first_is_answered(server: Server) -> None:
    with connect(server) as wire:
        wire.sendall((GET + b"\r\n") * (PIPELINED - 1) + LAST)
        assert read(wire).count(b"HTTP/1.1 200 ") == PIPELINED
    before = resident(server, "VmRSS")
    with connect(server) as wire:
        wire.sendall((GET + b"\r\n") * 20_000)
        assert read(wire).count(b"HTTP/1.1 200 ") <= PIPELINED
    assert resident(server, "VmRSS") - before < 10 * MIB


def test_what_follows_an_upgrade_is_not_taken_for_a_request(server: Server) -> None:
    with connect(server) as wire:
        wire.sendall(GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + GET + b"\r\n")
        answers = read(wire)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answers


def test_ten_seconds_for_a_head_and_as_long_as_one_likes_between_two(server: Server) -> None:
    """All side by side: each that does not make a request is let go in time, and who was served and is silent stays."""

    def served(then: bytes, head: bytes = GET + b"\r\n") -> Callable[[socket.socket], None]:
        def begin(wire: socket.socket) -> None:
            wire.sendall(head)
            answer = b""
            while not answer.endswith(b"}"):
                answer += wire.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200 ")
            wire.sendall(then)

        return begin

    crumbs = "a crumb each second"
    slow: dict[str, Callable[[socket.socket], None]] = {
        crumbs: lambda wire: wire.sendall(b"GET /"),
        "silent": lambda wire: None,
        "half a head": lambda wire: wire.sendall(GET),
        "half a second head": served(b"GET / HTT"),
        "an empty line after an answer": served(b"\r\n"),
        "half a body before the answer": served(b"", GET + b"Content-Length: 1000\r\n\r\nx"),
        "a body that does not come": served(b"x", GET + b"Content-Length: 1000\r\n\r\n"),
    }
    with ExitStack() as opened, httpx.Client(base_url=server.url) as kept:
        assert kept.get("/healthz").status_code == 200
        wires = {opened.enter_context(connect(server)): name for name in slow}
        began = time.monotonic()
        for wire, name in wires.items():
            slow[name](wire)
        said: dict[str, bytes] = {}
        while wires:
            assert time.monotonic() - began < 2 * HEAD_SECONDS, wires.values()
            for wire in select.select(list(wires), [], [], 1)[0]:
                name = wires[wire]
                said[name] = read(wire)
                assert time.monotonic() - began > HEAD_SECONDS - 1, name
                del wires[wire]
            for wire, name in wires.items():
                if name == crumbs:
                    with suppress(ConnectionError):
                        wire.sendall(b"x")
        assert kept.get("/healthz").status_code == 200
    assert {name: text.split(b" ")[1] for name, text in said.items() if text} == {
        "half a head": b"408",
        "half a second head": b"408",
        crumbs: b"408",
    }


def test_a_thousand_silent_connections_shut_nobody_out(environment: dict[str, str], tmp_path: Path) -> None:
    """With as few descriptors as a process can live on: whoever is new is served, and who is not of the crowd stays."""
    raise_descriptors()
    with (
        serve({**environment, "PALATE_MAX_CONNECTIONS": "64"}, tmp_path / "log") as server,
        httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other,
        ExitStack() as opened,
    ):
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (192, 192))
        assert other.get("/healthz").status_code == 200
        crowd = [opened.enter_context(connect(server)) for _ in range(1_000)]
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            with connect(server, source) as new:
                new.sendall(LAST)
                assert read(new).startswith(b"HTTP/1.1 200 ")
        stream = other._transport._pool.connections  # type: ignore[attr-defined]
        assert other.get("/readyz").json()["ready"]
        assert len(stream) == 1, "the same connection as before"
        with suppress(ConnectionResetError):
            assert crowd[0].recv(1) == b"", "the first to come was the first to go"
    log = (tmp_path / "log").read_text()
    assert re.search(r"refused of 127\.0\.0\.1 within a minute: .*for want of a connection", log)
    assert "Traceback" not in log
