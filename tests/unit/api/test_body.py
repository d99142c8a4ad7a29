"""Where a JSON body is parsed: a large one holds up nobody."""

import asyncio
import json
import threading

import pytest
from fastapi import Request

from api import body
from api.body import IN_A_THREAD_BYTES, JsonBody, read_json


def read(sent: bytes) -> JsonBody:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": sent, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}
    return asyncio.run(read_json(Request(scope, receive), limit=1 << 20, idle_seconds=5))


@pytest.mark.parametrize(("size", "elsewhere"), [(10, False), (IN_A_THREAD_BYTES, True), (1 << 19, True)])
def test_a_large_one_is_parsed_in_a_thread(size: int, elsewhere: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, threads = body.parsed, []

    def seen(sent: bytes) -> JsonBody:
        threads.append(threading.current_thread() is not threading.main_thread())
        return parsed(sent)

    monkeypatch.setattr(body, "parsed", seen)
    assert read(json.dumps({"a": "x" * size}).encode()).value == {"a": "x" * size}
    assert threads == [elsewhere]
