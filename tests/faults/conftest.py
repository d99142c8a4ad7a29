"""Jobs of the scripted trainer on the session's stack; what is between the parts is each test's own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.doctor import examine
from core.db import stored
from core.db.engine import transaction
from core.db.invariants import breaches
from core.objects import keys
from core.objects.store import Store
from tests.integration.worker.conftest import start_worker
from tests.integration.worker.conftest import submit as submit  # a fixture
from tests.proxy import Proxy

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def started(service: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Starts a worker with settings of the test's own; killed at the end."""
    with ExitStack() as all_of_them:

        def start(**more: str) -> "subprocess.Popen[bytes]":
            process = start_worker(service, tmp_path / f"{more.get('PALATE_NODE', 'n1')}.log", **more)
            all_of_them.callback(process.wait)
            all_of_them.callback(process.kill)
            return process

        yield start


@pytest.fixture
def between(service: dict[str, str]) -> Iterator[Callable[[str], Proxy]]:
    """A proxy before the part that this setting names."""
    with ExitStack() as proxies:
        yield lambda name: proxies.enter_context(Proxy(service[name]))


def assert_whole(store: Store) -> None:
    """What `palate doctor --read` looks at: every invariant, and every object that a row promises, byte for byte."""
    with transaction() as session:
        assert breaches(session) == []
        promised = set(stored.promised(session, keys.canonical))
    broken = examine(store, [each for each in promised if each.key.startswith("jobs/")], read=True)
    assert broken == {}
