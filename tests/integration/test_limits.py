"""Limits on waiting: each asserted on the real part."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine, text

from api.app import create_app, lifespan
from core import settings
from core.contract.errors import PalateError, Unavailable
from core.db import engine as db
from core.db import notices
from core.db.engine import make_engine, transaction, unavailable_as_such
from core.db.migrate import LOCK, upgrade
from core.objects.store import Store
from tests.proxy import Proxy
from tests.waiting import until

SERVERS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
SILENCE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 2,
    socket.TCP_USER_TIMEOUT: 15_000,
}


def shown(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [str(connection.scalar(text(f"SHOW {name}"))) for name in SERVERS]


@contextmanager
def refused_within(least: float, most: float) -> Iterator[None]:
    """Unavailable, no sooner and no later (seconds)."""
    began = time.monotonic()
    with pytest.raises(Unavailable):
        yield
    assert least <= time.monotonic() - began < most


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.usefixtures("service")
def test_what_the_server_keeps_for_a_worker_and_for_the_api() -> None:
    assert shown(db.engine()) == ["30s", "2s", "30s"]

    async def served() -> list[str]:
        async with lifespan(create_app()):
            return shown(db.engine())

    assert asyncio.run(served()) == ["5s", "2s", "30s"]
    assert settings.api().pool_timeout == 2


@pytest.mark.usefixtures("service")
def test_what_the_kernel_keeps(environment: dict[str, str]) -> None:
    """Of the engine's connections, and of the one that listens."""
    port = urlsplit(environment["DATABASE_URL"]).port or 0

    async def listening() -> dict[int, list[int]]:
        heard = notices.heard()
        waiting = asyncio.ensure_future(anext(heard))
        while not (found := options(port)):
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await heard.aclose()
        return found

    assert options(port) == {}
    for found in (asyncio.run(listening()), of_engine(port)):
        assert list(found.values()) == [[1, *SILENCE.values()]]


def of_engine(port: int) -> dict[int, list[int]]:
    with transaction() as session:
        session.execute(text("SELECT 1"))
        return options(port)


def options(port: int) -> dict[int, list[int]]:
    """By descriptor: keep-alive and its limits, of each connection of this process to that port."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(descriptor).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(descriptor.name))) as held:
                if held.getpeername()[1] == port:
                    found[int(descriptor.name)] = [
                        held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        *(held.getsockopt(socket.IPPROTO_TCP, each) for each in SILENCE),
                    ]
        except (OSError, IndexError):
            continue  # gone meanwhile, or not connected, or without a port
    return found


def test_connecting_takes_three_seconds_at_most() -> None:
    with silent() as port, refused_within(2.5, 5), unavailable_as_such():
        make_engine(f"postgresql+psycopg://u:p@127.0.0.1:{port}/d").connect()


def test_a_statement_ends(database_url: str) -> None:
    engine = make_engine(database_url, statement_timeout_ms=200)
    with engine.connect() as connection, refused_within(0.2, 2), unavailable_as_such():
        connection.execute(text("SELECT pg_sleep(30)"))
    engine.dispose()


def test_waiting_for_a_lock_ends(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as holder, engine.connect() as waiter:
        holder.execute(text("LOCK TABLE files"))
        with refused_within(1.9, 5), unavailable_as_such():
            waiter.execute(text("SELECT 1 FROM files"))
    engine.dispose()


def test_a_transaction_that_does_nothing_ends(database_url: str) -> None:
    engine = make_engine(database_url)
    alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    looking = engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as idle, looking.connect() as other:
        idle.execute(text("SET LOCAL idle_in_transaction_session_timeout = '100ms'"))
        pid = idle.scalar(text("SELECT pg_backend_pid()"))
        until(lambda: not other.scalar(alive, {"pid": pid}), "the end of the idle transaction", 10)
        with pytest.raises(Unavailable), unavailable_as_such():
            idle.execute(text("SELECT 1"))
    engine.dispose()


def test_a_server_that_never_answers_is_away(database_url: str) -> None:
    """It acknowledges every byte, so that TCP is content: only the client can give up."""
    with Proxy(database_url) as proxy:
        engine = make_engine(proxy.url, pool_size=1, statement_timeout_ms=100)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        proxy.hang()
        with refused_within(2, 10), unavailable_as_such(), engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        proxy.heal()
        with unavailable_as_such(), engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        engine.dispose()


@pytest.mark.usefixtures("service")
def test_the_store_has_three_seconds_to_connect_thirty_to_answer_and_five_tries() -> None:
    store = Store.from_settings()
    config = store._client.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (3, 30, 5)
    store.close()


def quick(url: str, **limits: float) -> Store:
    asked = {"connect_timeout": 0.3, "read_timeout": 0.3, "attempts": 1, **limits}
    return Store(endpoint_url=url, bucket="b", access_key="k", secret_key="s", **asked)  # type: ignore[arg-type]


CALLS: list[Callable[[Store], object]] = [
    lambda store: store.get("a"),
    lambda store: store.put("a", b"x" * 100),
    lambda store: store.begin_multipart("a"),
    lambda store: store.head("a"),
    lambda store: store.delete("a"),
    lambda store: list(store.list("a/")),
]


def test_a_store_that_never_answers_is_away() -> None:
    with silent() as port:
        store = quick(f"http://127.0.0.1:{port}")
        with ThreadPoolExecutor(len(CALLS)) as pool, refused_within(0.3, 5):
            for each in [pool.submit(call, store) for call in CALLS]:
                assert isinstance(each.exception(), Unavailable)
            raise Unavailable("each of them")
        began = time.monotonic()
        assert not store.has_bucket()
        assert time.monotonic() - began < 5
        store.close()


def test_the_store_is_tried_as_often_as_is_said(service: dict[str, str]) -> None:
    with Proxy(service["S3_ENDPOINT_URL"]) as proxy:
        proxy.cut()
        store = quick(proxy.url, attempts=3)
        with pytest.raises(Unavailable):
            store.head("a")
        assert proxy.connections == 3
        store.close()


def test_a_second_migrator_waits_five_seconds_and_says_what_to_do(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as first:
        first.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        began = time.monotonic()
        with pytest.raises(PalateError, match="Run it again") as refused:
            upgrade(database_url)
        assert 4.5 < time.monotonic() - began < 10
        assert refused.value.code == "schema_locked"
    upgrade(database_url)
    engine.dispose()
