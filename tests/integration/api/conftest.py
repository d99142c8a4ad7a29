"""A real uvicorn a session on the embedded stack, with a database and a bucket of its own; each test, a new tenant."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from openai import OpenAI

from core import ids
from core.contract.manifest import FileEntry, Manifest
from core.db import engine as db
from core.db import keys, models, projects
from core.db.engine import transaction
from core.db.tables import Intake
from core.objects.store import Store
from tests.conftest import ROOT, execute, forget
from tests.deletions import work_off
from tests.unit.planning.known import MODEL

DEADLINE = 20.0
SMALL = {
    "PALATE_DOWNLOADS": "auto",
    "PALATE_MAX_FILE_BYTES": str(24 << 20),
    "PALATE_INTAKE_IDLE_SECONDS": "2",
    "PALATE_INTAKE_PLACES": "8",
}


def until(true: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Returns when the condition holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@dataclass
class Server:
    url: str
    port: int
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    log: Path

    def alive(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def refused(server: Server) -> bool:
    try:
        httpx.get(f"{server.url}/healthz", timeout=5)
    except httpx.ConnectError:
        return True
    return False


@contextmanager
def serve(environment: dict[str, str], log: Path, port: int = 0) -> Iterator[Server]:
    """On a free port, or on this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = port or free.getsockname()[1]
    command = [sys.executable, "-W", "error", "-m", "api", "--port", str(port), "--log-level", "warning"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env={**kept, **environment}, stdout=stream, stderr=stream)
    server = Server(f"http://127.0.0.1:{port}", port, process, environment, log)
    try:
        until(server.alive, 60)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def environment(stack: dict[str, str], worker_id: str) -> Iterator[dict[str, str]]:
    """For the whole session, unlike the one of the other folders: tests differ by project."""
    url, name = stack["DATABASE_URL"], f"api_{worker_id}_{os.urandom(4).hex()}"
    execute(url, f'CREATE DATABASE "{name}" TEMPLATE "template_palate" STRATEGY FILE_COPY')
    yield {**stack, "DATABASE_URL": url.rpartition("/")[0] + f"/{name}", "S3_BUCKET": name.replace("_", "-"), **SMALL}
    execute(url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("api") / "uvicorn.log"
    with serve(environment, log) as running:
        yield running
    assert "not caught" not in log.read_text()


@pytest.fixture(autouse=True)
def here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process reads and writes the same rows and objects as the server."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget()
    yield
    db.configure(None)
    forget()


@pytest.fixture
def store(here: None) -> Iterator[Store]:
    opened = Store.from_settings()
    if not opened.has_bucket():
        opened.create_bucket()
    yield opened
    opened.close()


@dataclass
class Tenant:
    """A project with a key, the unmodified SDK, and bare HTTP for what the SDK does not send."""

    project_id: str
    key_id: str
    token: str
    sdk: OpenAI
    http: httpx.Client

    def upload(
        self, data: bytes = b'{"prompt":"a","chosen":"b","rejected":"c"}\n', name: str = "pairs.jsonl", **more: str
    ) -> str:
        return self.sdk.files.create(file=(name, data), purpose="fine-tune", extra_body=more or None).id


@pytest.fixture
def tenants(server: Server, store: Store) -> Iterator[Callable[[], Tenant]]:
    made: list[Tenant] = []

    def make() -> Tenant:
        with transaction() as session:
            project = projects.ensure(session, ids.row_id())
            key, token = keys.create(session, project.id)
        sdk = OpenAI(base_url=f"{server.url}/v1", api_key=token, max_retries=0)
        headers = {"authorization": f"Bearer {token}"}
        made.append(Tenant(project.id, key.id, token, sdk, httpx.Client(base_url=server.url, headers=headers)))
        return made[-1]

    yield make
    for tenant in made:
        tenant.sdk.close()
        tenant.http.close()


@pytest.fixture
def tenant(tenants: Callable[[], Tenant]) -> Tenant:
    return tenants()


MODEL_FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": bytes(range(256)) * 5000}


@pytest.fixture
def base_model(tenant: Tenant, store: Store) -> str:
    """The name of a base model of this tenant, with a slash in it as on the Hub."""
    stored = {path: store.put(f"models/test-{tenant.key_id}/{path}", body) for path, body in MODEL_FILES.items()}
    entries = [FileEntry(path=path, bytes=each.bytes, sha256=each.sha256) for path, each in stored.items()]
    with transaction() as session:
        model = models.add_base(
            session,
            name=f"org/{tenant.key_id}",
            digest=f"test-{tenant.key_id}",
            prefix=f"models/test-{tenant.key_id}/",
            manifest=Manifest(files=entries),
            facts={},
            project_id=tenant.project_id,
        )
    return model.name


@pytest.fixture
def model(tenant: Tenant, base_model: str) -> str:
    """The base model, with what is known of its layers."""
    with transaction() as session:
        models.by_name(session, tenant.project_id, base_model).facts = MODEL.model_dump()
    return base_model


@pytest.fixture
def spotless(store: Store, environment: dict[str, str]) -> Iterator[None]:
    """After the test neither an intake nor an unfinished upload nor an object of it is left; this is the worker."""
    s3 = boto3.session.Session().client("s3", endpoint_url=environment["S3_ENDPOINT_URL"])

    def quiet() -> bool:
        work_off(store)
        with transaction() as session:
            rows = session.query(Intake).count()
        return not rows and not s3.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])

    def objects() -> set[str]:
        return {each.key for each in store.list("files/")}

    until(quiet)
    before = objects()
    yield
    until(lambda: quiet() and objects() == before)
    s3.close()


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Checks the one shape of errors on the way."""
    body = json.loads(response.content)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"].startswith("req_")
    found: dict[str, Any] = body["error"]
    return found
