"""Bodies that are huge, bombs, or slow: answered in time, and the API's memory stays what it was."""

import gzip
import http.client
import json
import re
import select
import socket
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from core.db.engine import transaction
from core.db.tables import File, Intake, Job
from tests.faults.conftest import StartApi, client
from tests.integration.api.conftest import Server
from tests.waiting import until

MIB = 1 << 20
# Two parts of an upload and what reads them; the bodies are ten times that.
MOST = 40 * MIB
# The objects of a parsed JSON of the largest allowed size.
MOST_PARSED = 128 * MIB
LIMITS = {"PALATE_MAX_FILE_BYTES": str(24 * MIB), "PALATE_INTAKE_IDLE_SECONDS": "1"}


@pytest.fixture
def server(served: StartApi, token: str) -> Iterator[Server]:
    """One that has served already: what it imports and pools is there."""
    running = served(**LIMITS)
    with client(running, token) as http:
        http.get("/files").raise_for_status()
        http.post("/fine_tuning/jobs", json={})
    yield running
    with transaction() as session:
        until(lambda: session.query(Intake).count() == 0, "the intakes' end")
        assert (session.query(File).count(), session.query(Job).count()) == (0, 0)


def resident(server: Server, name: str) -> int:
    """VmRSS now, or VmHWM, the most since `forget_peak`; in bytes."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) << 10


def forget_peak(server: Server) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def pieces(head: bytes, count: int, tail: bytes = b"", piece: bytes = b"x" * MIB) -> Iterator[bytes]:
    yield head
    for _ in range(count):
        yield piece
    if tail:
        yield tail


FORM = {"content-type": "multipart/form-data; boundary=b"}
JSON = {"content-type": "application/json"}
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
HEADER = b'--b\r\nContent-Disposition: form-data; name="file'
BODIES = {
    "a huge file": ("/files", FORM, FILE, 400, b"x", 413),
    "a huge field": ("/files", FORM, FIELD, 400, b"x", 400),
    "a huge header of a part": ("/files", FORM, HEADER, 400, b"x", 400),
    "a huge JSON": ("/fine_tuning/jobs", JSON, b'{"model": "', 400, b"x", 413),
    "a JSON of brackets": ("/fine_tuning/jobs", JSON, b"[" * (MIB - 2), 0, b"[", 400),
    "a JSON of one number": ("/fine_tuning/jobs", JSON, b'{"seed": ' + b"9" * (MIB - 20), 0, b"9", 400),
    "a JSON of many keys": (
        "/fine_tuning/jobs",
        JSON,
        b"{" + b",".join(b'"%d":{}' % n for n in range(80_000)),
        0,
        b"9",
        400,
    ),
}


def bomb() -> bytes:
    """A quarter of a MiB that becomes 256 MiB."""
    return gzip.compress(b'{"model": "' + b"x" * (256 * MIB) + b'"}')


def begun(server: Server, token: str, path: str, headers: dict[str, str]) -> socket.socket:
    """A connection on which all of a request is sent but its body."""
    told = {"Host": "localhost", "Authorization": f"Bearer {token}", **headers}
    lines = [f"POST /v1{path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    wire.sendall("\r\n".join(lines).encode())
    return wire


def answer(server: Server, token: str, path: str, headers: dict[str, str], body: Iterator[bytes]) -> tuple[int, bytes]:
    """Of a client that sends until it is answered: by a socket, for httpx has no ear while it sends."""
    with begun(server, token, path, {"Transfer-Encoding": "chunked", **headers}) as wire:
        for piece in chain(body, [b""]):  # an empty one ends it
            if send(wire, b"%x\r\n%b\r\n" % (len(piece), piece)):
                break
        answered = http.client.HTTPResponse(wire)
        answered.begin()
        return answered.status, answered.read()


def send(wire: socket.socket, data: bytes) -> bool:
    """All of it, or as much as is taken before there is an answer; then True."""
    left = memoryview(data)
    while left:
        readable, writable, _ = select.select([wire], [wire], [], 30)
        assert readable or writable, "it neither takes the body nor answers"
        if readable:
            return True
        try:
            left = left[wire.send(left, socket.MSG_DONTWAIT) :]
        except ConnectionError:
            return True  # what it said before it left can still be read
    return False


def test_a_body_without_end_or_with_a_bomb_takes_no_memory(server: Server, token: str) -> None:
    bombs = {"a gzip bomb": ("/fine_tuning/jobs", {**JSON, "content-encoding": "gzip"}, bomb(), 0, b"", 400)}
    for name, (path, headers, head, count, byte, status) in (BODIES | bombs).items():
        before = resident(server, "VmRSS")
        forget_peak(server)
        tail = b"" if name in bombs else b"}"
        got, body = answer(server, token, path, headers, pieces(head, count, tail, byte * MIB))
        assert got == status, (name, body)
        assert json.loads(body)["error"]["code"]
        most = MOST_PARSED if name == "a JSON of many keys" else MOST
        assert resident(server, "VmHWM") - before < most, name
        assert server.alive()


def test_who_sends_slowly_is_told_and_others_are_served(server: Server, token: str) -> None:
    """Twenty bodies of a byte now and then nothing: 408 each, a health check meanwhile in no time."""
    before = resident(server, "VmRSS")
    forget_peak(server)
    open_ones = [begun(server, token, "/fine_tuning/jobs", {**JSON, "Content-Length": "100"}) for _ in range(20)]
    for each in open_ones:
        each.sendall(b"{")
    began = time.monotonic()
    assert server.alive()
    assert time.monotonic() - began < 1
    for each in open_ones:
        assert b" 408 " in each.recv(4_096).split(b"\r\n")[0]
        each.close()
    assert resident(server, "VmHWM") - before < MOST


def test_who_sends_a_byte_now_and_then_is_told_too(server: Server, token: str) -> None:
    with begun(server, token, "/files", {**FORM, "Content-Length": "1000"}) as slow:
        slow.sendall(FILE)
        while not select.select([slow], [], [], 0.1)[0]:
            slow.sendall(b"x")
        assert b" 408 " in slow.recv(4_096).split(b"\r\n")[0]
