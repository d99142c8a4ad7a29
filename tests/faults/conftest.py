"""Jobs of the scripted trainer on the session's stack; what is between the parts is each test's own."""

import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from cli.doctor import examine
from core import ids
from core.contract.manifest import Manifest
from core.db import events, keys, models, projects, stored
from core.db.engine import transaction
from core.db.invariants import breaches
from core.objects import keys as object_keys
from core.objects.store import Store
from tests.integration.api.conftest import Server, serve
from tests.integration.worker.conftest import start_worker
from tests.integration.worker.conftest import submit as submit  # a fixture
from tests.lost_replies import LostReplies
from tests.lying_store import LyingStore
from tests.proxy import Proxy

StartWorker = Callable[..., "subprocess.Popen[bytes]"]
StartApi = Callable[..., Server]
BASE = "a base"


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


@pytest.fixture
def replies(service: dict[str, str]) -> Iterator[LostReplies]:
    """Before Postgres."""
    with LostReplies(service["DATABASE_URL"]) as proxy:
        yield proxy


@pytest.fixture
def lying(service: dict[str, str]) -> Iterator[LyingStore]:
    """Before the object store."""
    with LyingStore(service["S3_ENDPOINT_URL"]) as proxy:
        yield proxy


@pytest.fixture
def served(service: dict[str, str], tmp_path: Path) -> Iterator[StartApi]:
    """Starts an API with settings of the test's own."""
    with ExitStack() as servers:

        def start(**more: str) -> Server:
            return servers.enter_context(serve({**service, **more}, tmp_path / f"{ids.row_id()}.log"))

        yield start


@pytest.fixture
def token(service: dict[str, str]) -> str:
    """Of a project that has one base model, BASE."""
    with transaction() as session:
        project = projects.ensure(session, "faults")
        models.add_base(
            session,
            name=BASE,
            digest="d",
            prefix="models/d/",
            manifest=Manifest(files=[]),
            facts={},
            project_id=project.id,
        )
        return keys.create(session, project.id)[1]


def client(server: Server, token: str) -> httpx.Client:
    return httpx.Client(base_url=f"{server.url}/v1", headers={"authorization": f"Bearer {token}"}, timeout=60)


def said(job_id: str) -> list[str]:
    """The job's messages, oldest first."""
    with transaction() as session:
        return [event.message for event in events.page(session, job_id, None, 1_000)[0]][::-1]


def assert_whole(store: Store, prefixes: Collection[str] = ("jobs/",)) -> None:
    """What `palate doctor --read` looks at: every invariant, and every object that a row promises, byte for byte.

    `prefixes`: where the test's own rows name objects; each promises one at least. Rows that a test made up name none.
    """
    with transaction() as session:
        assert breaches(session) == []
        promised = set(stored.promised(session, object_keys.canonical))
    looked_at = [each for each in promised if each.key.startswith(tuple(prefixes))]
    assert {each.key.split("/")[0] + "/" for each in looked_at} == set(prefixes), "nothing to look at"
    assert examine(store, looked_at, read=True) == {}
