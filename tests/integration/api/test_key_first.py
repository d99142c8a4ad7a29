"""Without a key nobody learns anything: of every route of openapi.json, and of what it would do with the body."""

import json
import socket

import httpx
import pytest

from api.openapi import FILE
from tests.integration.api.conftest import Server, error_of

PATHS = json.loads(FILE.read_text())["paths"]
ROUTES = [(method.upper(), path) for path, methods in PATHS.items() for method in methods if path.startswith("/v1/")]
WRONG = f"Bearer plt_{'a' * 16}_{'b' * 40}"
BODIES = {"application/json": b'{"a": 1, "a"', "multipart/form-data": b"--b\r\nbroken", "": b"\xff"}


def test_there_are_routes() -> None:
    assert len(ROUTES) > 20


@pytest.mark.parametrize("key", [None, WRONG, "Bearer nonsense"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_key_comes_before_the_body(method: str, path: str, key: str | None, server: Server) -> None:
    """The body is asked for (100 Continue) as soon as anybody reads it; and no parameter is looked at either."""
    address = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
    head = [f"{method} {address}?limit=-1&wait=nan&after=%ff HTTP/1.1", "Host: localhost", "Expect: 100-continue"]
    head += ["Content-Type: application/json", "Content-Length: 1048576", *([f"Authorization: {key}"] if key else [])]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall("\r\n".join([*head, "", ""]).encode())
        answer = wire.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 401 "), answer


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "POST"])
def test_a_broken_body_is_nobodys_business(method: str, path: str, kind: str, server: Server) -> None:
    address = path.replace("{job_id}", "x")
    answer = httpx.request(method, f"{server.url}{address}", content=BODIES[kind], headers={"content-type": kind})
    assert (answer.status_code, error_of(answer)["code"]) == (401, "missing_api_key")


def test_the_description_is_made_once(server: Server) -> None:
    """It is served without a key: as it is, and not by writing it anew."""
    first, second = (httpx.get(f"{server.url}/openapi.json") for _ in range(2))
    assert first.content == second.content
    assert first.json() == json.loads(FILE.read_text())
