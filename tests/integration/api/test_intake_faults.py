"""Broken uploads: each is answered, and none leaves a row, a part or an object behind."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from core.db.engine import transaction
from core.db.tables import Intake
from tests.integration.api.conftest import Server, Tenant, error_of, serve, until

pytestmark = pytest.mark.usefixtures("spotless")

MIB = 1 << 20
FORM = "multipart/form-data"
BOUNDARY = "x" * 30
FIELDS = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
FILE = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
HEAD = (FIELDS + FILE).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def connected(server: Server, tenant: Tenant, *headers: str) -> Iterator[socket.socket]:
    """A bare connection on which the head of POST /v1/files has been sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        lines = ["POST /v1/files HTTP/1.1", "Host: localhost", f"Authorization: Bearer {tenant.token}"]
        lines += [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", *headers, "", ""]
        raw.sendall("\r\n".join(lines).encode())
        yield raw


def answer(raw: socket.socket) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, headers and the error of what comes until the server closes."""
    got = b""
    while piece := raw.recv(65536):
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(first.split()[1]), headers, json.loads(body)["error"]


def intakes() -> int:
    with transaction() as session:
        return session.query(Intake).count()


def test_too_long_by_its_own_word(server: Server, tenant: Tenant) -> None:
    """The client sends all of it before it looks: it still reads the 413."""
    with pytest.raises(openai.APIStatusError) as refused:
        tenant.sdk.files.create(file=b"x" * (40 * MIB), purpose="fine-tune")
    assert refused.value.status_code == 413
    assert "/v1/uploads" in str(refused.value)


def test_too_long_without_a_word(tenant: Tenant) -> None:
    def body() -> Iterator[bytes]:
        yield HEAD
        for _ in range(40):
            yield b"x" * MIB
        yield TAIL

    kind = f"multipart/form-data; boundary={BOUNDARY}"
    refused = tenant.http.post("/v1/files", content=body(), headers={"content-type": kind})
    assert (refused.status_code, error_of(refused)["code"]) == (413, "too_large")


def test_far_too_long_is_cut_off(server: Server, tenant: Tenant) -> None:
    """After 64 MiB or 5 s nobody listens any more."""
    with connected(server, tenant, f"Content-Length: {9 << 30}") as raw:
        raw.sendall(HEAD)
        status, headers, error = answer(raw)
    assert (status, headers["connection"], error["code"]) == (413, "close", "too_large")


def test_a_client_that_asks_first_sends_nothing(server: Server, tenant: Tenant) -> None:
    with connected(server, tenant, f"Content-Length: {9 << 30}", "Expect: 100-continue") as raw:
        assert answer(raw)[0] == 413


def test_a_body_that_stands_still(server: Server, tenant: Tenant) -> None:
    with connected(server, tenant, "Content-Length: 20000000") as raw:
        raw.sendall(HEAD + b"x" * (9 * MIB))
        until(lambda: intakes() == 1)
        status, headers, error = answer(raw)
    assert (status, error["code"], headers["connection"]) == (408, "request_timeout", "close")


def test_a_client_that_leaves(server: Server, tenant: Tenant) -> None:
    with connected(server, tenant, "Content-Length: 20000000") as raw:
        raw.sendall(HEAD + b"x" * (9 * MIB))
        until(lambda: intakes() == 1)
    until(lambda: intakes() == 0)


def test_a_client_that_is_killed(server: Server, tenant: Tenant) -> None:
    program = """
import sys
import httpx
def body():
    yield sys.argv[3].encode()
    yield b"x" * (9 << 20)
    sys.stdin.read()
httpx.post(sys.argv[1] + "/v1/files", content=body(), timeout=60, headers={
    "authorization": "Bearer " + sys.argv[2], "content-type": "multipart/form-data; boundary=" + sys.argv[4]})
"""
    command = [sys.executable, "-c", program, server.url, tenant.token, HEAD.decode(), BOUNDARY]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as client:
        try:
            until(lambda: intakes() == 1)
        finally:
            client.kill()
    until(lambda: intakes() == 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (HEAD + b"x" * 9_000_000, "invalid_multipart"),
        (HEAD + b"x" * 100 + f"\r\n--{BOUNDARY}".encode(), "invalid_multipart"),
        (b"", "invalid_multipart"),
        (b"nonsense", "invalid_multipart"),
        (HEAD + b"x" * 9_000_000 + b"\r\n" + FILE.encode() + b"y" + TAIL, "invalid_value"),
        (HEAD + b"x" * 9_000_000 + b"\r\n" + (FIELDS).encode() + TAIL[2:], "invalid_value"),
        (f"--{BOUNDARY}\r\n\r\n\r\n".encode() + HEAD + TAIL, "invalid_multipart"),
        (f"--{BOUNDARY}\r\nA: {'b' * 100_000}\r\n\r\n".encode() + HEAD + TAIL, "invalid_multipart"),
        (HEAD.replace(b"fine-tune", b"\xff") + b"x" + TAIL, "invalid_multipart"),
        (HEAD.replace(b"fine-tune", b"\0") + b"x" + TAIL, "invalid_multipart"),
        (HEAD.replace(b"fine-tune", b"f" * 100_000) + b"x" + TAIL, "out_of_range"),
    ],
)
def test_a_body_that_is_no_form(tenant: Tenant, body: bytes, code: str) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    refused = tenant.http.post("/v1/files", content=body, headers={"content-type": kind})
    assert (refused.status_code, error_of(refused)["code"]) == (400, code)


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"]
)
def test_another_content_type(tenant: Tenant, kind: str) -> None:
    refused = tenant.http.post("/v1/files", content=HEAD + b"x" + TAIL, headers={"content-type": kind})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_multipart")


def test_without_a_key_nothing_is_kept(server: Server) -> None:
    refused = httpx.post(f"{server.url}/v1/files", data={"purpose": "fine-tune"}, files={"file": b"x" * (4 * MIB)})
    assert (refused.status_code, error_of(refused)["code"]) == (401, "missing_api_key")


def test_no_place_is_left(server: Server, tenant: Tenant) -> None:
    """Four slow uploads take what a project may have; the fifth is told when to come back, and places come back too."""
    with (
        connected(server, tenant, "Content-Length: 20000000") as one,
        connected(server, tenant, "Content-Length: 20000000") as two,
        connected(server, tenant, "Content-Length: 20000000") as three,
        connected(server, tenant, "Content-Length: 20000000") as four,
    ):
        for raw in (one, two, three, four):
            raw.sendall(HEAD + b"x" * (9 * MIB))
        until(lambda: intakes() == 4)
        refused = tenant.http.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": b"x"})
        assert (refused.status_code, error_of(refused)["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) > 0
    until(lambda: intakes() == 0)
    with pytest.raises(openai.BadRequestError):
        tenant.upload(b"")


def test_the_store_is_away(environment: dict[str, str], tenant: Tenant, tmp_path: Path) -> None:
    elsewhere = {**environment, "S3_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    with serve(elsewhere, tmp_path / "log") as server:
        headers = {"authorization": f"Bearer {tenant.token}"}
        files = {"file": b"x" * (10 * MIB)}
        refused = httpx.post(
            f"{server.url}/v1/files", data={"purpose": "fine-tune"}, files=files, headers=headers, timeout=60
        )
        assert (refused.status_code, error_of(refused)["code"]) == (503, "store_unavailable")
        assert refused.headers["retry-after"]
        ready = httpx.get(f"{server.url}/readyz", timeout=60)
        assert (ready.status_code, ready.json()["store"], ready.json()["database"]) == (503, "away", "ok")
