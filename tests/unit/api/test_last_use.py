"""The last use of keys: noted often, written seldom, and never in the way of a request."""

import asyncio
import threading

import pytest

from api.last_use import LastUse
from core.contract.errors import Unavailable
from core.db import keys


def test_a_thousand_requests_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    gate = threading.Event()

    def used(key_id: str) -> None:
        gate.wait(10)
        written.append(key_id)

    monkeypatch.setattr(keys, "used", used)

    async def serve() -> None:
        uses = LastUse()
        for _ in range(1_000):
            uses.note("one")
            uses.note("two")
        assert written == [], "nothing waited for it"
        gate.set()
        await uses.stop()

    asyncio.run(serve())
    assert sorted(written) == ["one", "two"]


def test_a_database_that_is_away_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def used(key_id: str) -> None:
        raise Unavailable("The database does not answer; try again shortly.")

    monkeypatch.setattr(keys, "used", used)

    async def serve() -> None:
        uses = LastUse()
        uses.note("one")
        await uses.stop()

    asyncio.run(serve())
    assert "the use of key one was not written" in caplog.text
