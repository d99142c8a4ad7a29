"""One embedded stack a test session, shared by its pytest workers; a database for each worker, made by migrations."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, text
from xdist.remote import Producer

from core import queue, settings
from core.db import engine as db
from core.db.migrate import upgrade
from core.objects.store import Store
from tests.scheduling import ByGroup

ROOT = Path(__file__).resolve().parents[1]
SHARED = "PALATE_TESTS_SHARED"
UNSHRUNK = "unshrunk"
# Tests ask as fast as they can, and with wrong keys too.
OFTEN = {
    "PALATE_REQUESTS_PER_SECOND": "5000",
    "PALATE_REQUESTS_BURST": "10000",
    "PALATE_WRONG_KEYS_PER_MINUTE": "10000",
}
hypothesis_settings.register_profile(UNSHRUNK, phases=[Phase.explicit, Phase.generate])
KEEPER = """
import json, signal, sys
from pathlib import Path
from local.stack import Stack
home = Path(sys.argv[1])
with Stack(home) as stack:
    partial = home / "environment.tmp"
    # The tests make databases of their own: by the owner.
    partial.write_text(json.dumps({**stack.environment, "DATABASE_URL": stack.postgres.owner_url}))
    partial.rename(home / "environment.json")
    sys.stdin.read()
"""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Each folder's time, summed over the pytest workers."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:3]).partition("::")[0]] += report.duration
    terminalreporter.section("seconds by folder")
    for folder, total in sorted(seconds.items()):
        terminalreporter.write_line(f"{total:8.1f}  {folder}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all pytest workers of this session share; with SHARED, that of the session around it."""
    if SHARED in os.environ:
        return Path(os.environ[SHARED])
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def stack(shared: Path) -> Iterator[dict[str, str]]:
    """The environment of the running parts. Each worker's pipe keeps them alive; they end with the last one."""
    home = shared / "stack"
    home.mkdir(exist_ok=True)
    with (shared / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keeper = None
        if not (home / "environment.json").exists():
            keeper = subprocess.Popen(
                [sys.executable, "-c", KEEPER, str(home)], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
            )
            while not (home / "environment.json").exists():
                assert keeper.poll() is None, "the embedded stack did not start"
                try:
                    keeper.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
            with_template(json.loads((home / "environment.json").read_text())["DATABASE_URL"])
        users = (shared / "stack.users").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)
        told = json.loads((home / "environment.json").read_text())
    yield told | OFTEN
    fcntl.flock(users, fcntl.LOCK_UN)
    while keeper is not None and not ended(keeper, home, users):
        continue
    users.close()


def ended(keeper: "subprocess.Popen[bytes]", home: Path, users: IO[str]) -> bool:
    """Waits for the other workers and ends the stack; False when another one came meanwhile."""
    fcntl.flock(users, fcntl.LOCK_EX)
    fcntl.flock(users, fcntl.LOCK_UN)
    with (home.parent / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        assert keeper.stdin is not None
        keeper.stdin.close()
        assert keeper.wait(60) == 0
        shutil.rmtree(home)  # who comes later makes one anew
        return True


def with_template(url: str) -> None:
    """The migrated database that the others are copies of."""
    execute(url, 'CREATE DATABASE "template_palate"')
    upgrade(url.rpartition("/")[0] + "/template_palate")


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def database_url(stack: dict[str, str], worker_id: str) -> Iterator[str]:
    """A fresh copy of the migrated database, gone after the test."""
    url, name = stack["DATABASE_URL"], f"test_{worker_id}_{os.urandom(4).hex()}"
    execute(url, f'CREATE DATABASE "{name}" TEMPLATE "template_palate" STRATEGY WAL_LOG')
    yield url.rpartition("/")[0] + f"/{name}"
    execute(url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def environment(stack: dict[str, str], database_url: str) -> dict[str, str]:
    """What a process of the service is started with: the parts, a database and a bucket of its own."""
    bucket = "test-" + database_url.rpartition("_")[2]
    return {**stack, "DATABASE_URL": database_url, "S3_BUCKET": bucket}


@pytest.fixture
def service(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """This process as a part of the service: settings, engine and bucket point at the test's own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PALATE_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    forget()
    Store.from_settings().create_bucket()
    yield {**environment, "PALATE_SCRATCH": str(tmp_path / "scratch"), "PALATE_CACHE": str(tmp_path / "cache")}
    db.configure(None)
    forget()


def forget() -> None:
    for cached in (settings.parts, settings.api, settings.worker):
        cached.cache_clear()


@pytest.fixture
def own_redis(service: dict[str, str], worker_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """A database of Redis that this test shares with nobody, so that it may look into it and wipe it."""
    number = 1 + int(worker_id.removeprefix("gw")) % 14 if worker_id != "master" else 15
    url = urlunsplit(urlsplit(service["REDIS_URL"])._replace(path=f"/{number}"))
    monkeypatch.setitem(service, "REDIS_URL", url)
    monkeypatch.setenv("REDIS_URL", url)
    forget()
    queue._producer.cache_clear()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield client
        client.flushdb()
    queue._producer.cache_clear()


@pytest.fixture
def store(service: dict[str, str]) -> Iterator[Store]:
    opened = Store.from_settings()
    yield opened
    opened.close()
