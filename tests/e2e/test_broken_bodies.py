"""An upload that breaks off or grows too large leaves nothing behind."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from core.db.engine import transaction
from core.db.tables import Intake
from tests.e2e.live import Live, User, error_of
from tests.waiting import until

MIB = 1 << 20
BOUNDARY = "e2e-boundary"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
KIND = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}

pytestmark = pytest.mark.usefixtures("spotless")


def test_a_body_that_breaks_off(live: Live, user: User) -> None:
    """9 MiB are sent, so that a part is in the store already; then the client is gone."""
    at = urlsplit(live.url)
    head = [
        "POST /v1/files HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {user.token}",
        "Content-Length: 10000000",
    ]
    head += [f"Content-Type: {KIND['content-type']}", "", ""]

    def intakes() -> int:
        with transaction() as session:
            return session.query(Intake).count()

    with socket.create_connection((at.hostname, at.port), timeout=30) as raw:
        raw.sendall("\r\n".join(head).encode() + HEAD + b"x" * (9 * MIB))
        until(lambda: intakes() == 1, "the row of the upload", 20)
    until(lambda: intakes() == 0, "its end", 20)


def test_a_body_without_its_last_boundary(user: User) -> None:
    error = error_of(user.http.post("/files", content=HEAD + b"x" * 1000, headers=KIND), 400)
    assert (error["code"], error["type"]) == ("invalid_multipart", "invalid_request_error")
    assert "send it again" in error["message"]


def test_a_body_that_is_no_form(user: User) -> None:
    error = error_of(user.http.post("/files", content=b"{}", headers={"content-type": "application/json"}), 400)
    assert error["code"] == "invalid_multipart"
    assert "curl -F" in error["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large(user: User, declared: bool) -> None:
    """By its own word, or only seen while it comes: then a part of it is in the store already."""

    def body() -> Iterator[bytes]:
        yield HEAD
        for _ in range(14):
            yield b"x" * MIB
        yield TAIL

    content = b"".join(body()) if declared else body()
    error = error_of(user.http.post("/files", content=content, headers=KIND), 413)
    assert (error["code"], error["param"]) == ("too_large", "file")
    assert str(12 * MIB) in error["message"]
    assert "/v1/uploads" in error["message"]
