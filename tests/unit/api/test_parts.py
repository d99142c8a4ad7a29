"""No crowd at /readyz makes the parts be looked at more than once at a time."""

import asyncio
import threading

import pytest

from api import parts
from core.objects.store import Store


def test_a_crowd_is_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, go = [], threading.Event()

    def rings() -> bool:
        looks.append(1)
        return go.wait(5)

    monkeypatch.setattr(parts, "database_state", lambda: "ok")
    store = Store(endpoint_url="http://127.0.0.1:1", bucket="b", access_key="k", secret_key="s")

    async def asked() -> list[parts.Seen]:
        found = parts.Parts(store, rings)
        crowd = [asyncio.create_task(found.seen()) for _ in range(500)]
        left = asyncio.create_task(found.seen())
        await asyncio.sleep(0)
        left.cancel()
        go.set()
        answers = await asyncio.gather(*crowd)
        await found.seen()
        return answers

    assert set(asyncio.run(asked())) == {("ok", parts.AWAY, "ok")}
    assert len(looks) == 2, "one for the crowd, one for who came after it"
    store.close()
