"""Each route of the API while Postgres, the store or Redis is away: an answer in time, and none of them a bug.

The routes are read off the description of the API: a new one is asked too, and needs a body here if it takes one.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from tests.integration.api.conftest import Server, Tenant, error_of, serve, until
from tests.proxy import Proxy

# A statement may take a second, and its answer two more on the way; a connection three.
SCALED = {
    "PALATE_STATEMENT_TIMEOUT_MS": "1000",
    "PALATE_DOWNLOADS": "proxy",
    "S3_CONNECT_SECONDS": "0.5",
    "S3_READ_SECONDS": "0.5",
    "S3_ATTEMPTS": "2",
}
IN_TIME = 10.0
# Neither is a route for work: they say how things are.
HEALTH = {"/healthz", "/readyz"}
# What reads or writes an object while the client waits.
NEEDS_STORE = {"POST /v1/files", "GET /v1/files/{file_id}/content", "GET /v1/models/{model}/files/{path}"}


@dataclass
class Through:
    """A server that reaches each part through a proxy."""

    server: Server
    database: Proxy
    store: Proxy
    redis: Proxy

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.server.url}/readyz", timeout=IN_TIME)


@pytest.fixture(scope="module")
def through(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Through]:
    log = tmp_path_factory.mktemp("away") / "log"
    with ExitStack() as opened:
        names = ("DATABASE_URL", "S3_ENDPOINT_URL", "REDIS_URL")
        database, store, redis = (opened.enter_context(Proxy(environment[name])) for name in names)
        urls = dict(zip(names, (database.url, store.url, redis.url), strict=True))
        server = opened.enter_context(serve({**environment, **SCALED, **urls}, log))
        yield Through(server, database, store, redis)
    assert "not caught" not in log.read_text()


@pytest.fixture
def ask(through: Through, tenant: Tenant, base_model: str) -> Iterator[Callable[[], dict[str, httpx.Response]]]:
    """Asks every route at once, with things that are there; each answer by `METHOD /path`."""
    file = tenant.upload()
    body = {"model": base_model, "training_file": file}
    jobs = [tenant.http.post("/v1/fine_tuning/jobs", json=body).json()["id"] for _ in range(2)]
    fillings = {"file_id": file, "job_id": jobs[0], "model": base_model, "path": "config.json"}
    bodies: dict[str, dict[str, Any]] = {
        "POST /v1/files": {"data": {"purpose": "fine-tune"}, "files": {"file": b"x\n"}},
        "POST /v1/fine_tuning/jobs": {"json": body},
        "POST /v1/fine_tuning/plan": {"json": body},
    }
    limits = httpx.Limits(max_connections=64)
    headers = {"authorization": f"Bearer {tenant.token}"}
    client = httpx.Client(base_url=through.server.url, headers=headers, timeout=60, limits=limits, trust_env=False)

    def one(route: str) -> httpx.Response:
        method, _, path = route.partition(" ")
        # Another job than the one that is looked at.
        names = fillings | ({"job_id": jobs[1]} if method == "POST" else {})
        asked = {name: names[name] for name in ROUTES[route]}
        with client.stream(method, path.format(**names), params=asked, **bodies.get(route, {})) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                answer.read()
            return answer

    def all_of_them() -> dict[str, httpx.Response]:
        with ThreadPoolExecutor(len(ROUTES)) as pool:
            return dict(zip(ROUTES, pool.map(one, ROUTES), strict=True))

    yield all_of_them
    client.close()


def routes() -> dict[str, list[str]]:
    """`METHOD /path`, and the query parameters without which it refuses."""
    return {
        f"{method.upper()} {path}": [
            each["name"] for each in told.get("parameters", []) if each["in"] == "query" and each.get("required")
        ]
        for path, methods in create_app().openapi()["paths"].items()
        if path not in HEALTH
        for method, told in methods.items()
    }


ROUTES = routes()


def failed(answers: dict[str, httpx.Response]) -> dict[str, int]:
    """What is not an answer: a refusal (the file is in use, the job is cancelled) is one."""
    return {route: each.status_code for route, each in answers.items() if each.status_code >= 500}


def is_away(answer: httpx.Response) -> bool:
    assert answer.status_code != 503 or json.loads(answer.headers["retry-after"]) > 0
    return answer.status_code == 503 and error_of(answer)["type"] == "server_error"


def test_there_are_routes_to_ask() -> None:
    assert set(ROUTES) >= {*NEEDS_STORE, "GET /v1/fine_tuning/jobs/{job_id}", "DELETE /v1/files/{file_id}"}


@pytest.mark.parametrize("fault", ["cut", "hang"])
@pytest.mark.parametrize("known", [True, False], ids=["key known", "key unknown"])
def test_postgres_is_away(
    fault: str, known: bool, through: Through, ask: Callable[[], dict[str, httpx.Response]], tenant: Tenant
) -> None:
    if known:  # for five seconds the key needs no look: the routes themselves meet the fault
        headers = {"authorization": f"Bearer {tenant.token}"}
        assert httpx.get(f"{through.server.url}/v1/models", headers=headers).status_code == 200
    getattr(through.database, fault)()
    try:
        began = time.monotonic()
        answers = ask()
        assert [route for route, each in answers.items() if not is_away(each)] == []
        assert time.monotonic() - began < IN_TIME
        assert httpx.get(f"{through.server.url}/healthz", timeout=1).status_code == 200
        ready = through.ready()
        assert (ready.status_code, ready.json()["database"], ready.json()["store"]) == (503, "away", "ok")
        assert json.loads(ready.headers["retry-after"]) > 0
    finally:
        through.database.heal()
    until(lambda: through.ready().status_code == 200)
    assert failed(ask()) == {}


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_the_store_is_away(fault: str, through: Through, ask: Callable[[], dict[str, httpx.Response]]) -> None:
    getattr(through.store, fault)()
    try:
        began = time.monotonic()
        answers = ask()
        away = {route for route, each in answers.items() if is_away(each)}
        assert away == set(failed(answers)) >= NEEDS_STORE
        assert {error_of(answers[route])["code"] for route in away} == {"store_unavailable"}
        assert not any("/fine_tuning/" in route for route in away), "a job's routes need no object"
        assert time.monotonic() - began < IN_TIME
        assert httpx.get(f"{through.server.url}/healthz", timeout=1).status_code == 200
        ready = through.ready()
        assert (ready.status_code, ready.json()["store"], ready.json()["database"]) == (503, "away", "ok")
    finally:
        through.store.heal()
    until(lambda: through.ready().status_code == 200)


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_nothing_fails_without_redis(
    fault: str, through: Through, ask: Callable[[], dict[str, httpx.Response]]
) -> None:
    getattr(through.redis, fault)()
    try:
        began = time.monotonic()
        assert failed(ask()) == {}
        assert time.monotonic() - began < IN_TIME
        ready = through.ready()
        assert (ready.status_code, ready.json()["queue"]) == (200, "away")
    finally:
        through.redis.heal()
    until(lambda: through.ready().json()["queue"] == "ok")


def test_it_starts_while_everything_is_away(environment: dict[str, str], tenant: Tenant, tmp_path: Path) -> None:
    with ExitStack() as opened:
        names = ("DATABASE_URL", "S3_ENDPOINT_URL", "REDIS_URL")
        proxies = [opened.enter_context(Proxy(environment[name])) for name in names]
        for proxy in proxies:
            proxy.cut()
        urls = {name: proxy.url for name, proxy in zip(names, proxies, strict=True)}
        server = opened.enter_context(serve({**environment, **SCALED, **urls}, tmp_path / "log"))
        ready = httpx.get(f"{server.url}/readyz", timeout=IN_TIME)
        assert (ready.status_code, ready.json()["database"], ready.json()["store"]) == (503, "away", "away")
        for proxy in proxies:
            proxy.heal()
        until(lambda: httpx.get(f"{server.url}/readyz", timeout=IN_TIME).json()["ready"])
        headers = {"authorization": f"Bearer {tenant.token}"}
        assert httpx.get(f"{server.url}/v1/files", headers=headers).status_code == 200
