"""GET with `wait`: at once when there is something new, and never in the way of others."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from core.contract.states import JobState
from core.db import jobs
from core.db.engine import transaction
from core.db.events import NewEvent, append
from core.db.tables import Job
from tests.integration.api.conftest import Server, Tenant, error_of, execute, serve, until

URL = "/v1/fine_tuning/jobs"


@pytest.fixture
def job(tenant: Tenant, base_model: str) -> dict[str, Any]:
    made: dict[str, Any] = tenant.http.post(URL, json={"model": base_model, "training_file": tenant.upload()}).json()
    return made


def wait(
    server: Server, tenant: Tenant, job: dict[str, Any], seconds: float, since: int | None = None
) -> httpx.Response:
    params = {"wait": str(seconds), "since": str(job["palate"]["version"] if since is None else since)}
    headers = {"authorization": f"Bearer {tenant.token}"}
    return httpx.get(f"{server.url}{URL}/{job['id']}", params=params, headers=headers, timeout=90)


def listening() -> int:
    with transaction() as session:
        count = session.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
        )
        return int(count)


def test_at_once_when_the_version_differs(server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
    began = time.monotonic()
    assert wait(server, tenant, job, 60, since=0).json()["id"] == job["id"]
    tenant.sdk.fine_tuning.jobs.cancel(job["id"])
    now = tenant.http.get(f"{URL}/{job['id']}").json()
    assert wait(server, tenant, now, 60).json()["status"] == "cancelled"
    assert time.monotonic() - began < 5


def test_the_time_ends(server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
    answer = wait(server, tenant, job, 0.3)
    assert answer.json()["palate"]["version"] == job["palate"]["version"]
    assert answer.elapsed.total_seconds() >= 0.3


def test_woken_by_the_change(server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, server, tenant, job, 60)
        with transaction() as session:
            append(session, job["id"], NewEvent("news"))
        changed_at = time.monotonic()
        answer = waiting.result(30)
    assert answer.json()["palate"]["version"] > job["palate"]["version"]
    assert time.monotonic() - changed_at < 5


def test_forty_who_wait_block_nobody(server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(wait, server, tenant, job, 60) for _ in range(60)]
        slowest = 0.0
        for _ in range(20):
            slowest = max(slowest, httpx.get(f"{server.url}/healthz", timeout=30).elapsed.total_seconds())
            assert tenant.http.get(f"{URL}/{job['id']}").status_code == 200
        assert slowest < 2
        assert not any(each.done() for each in waiting)
        tenant.sdk.fine_tuning.jobs.cancel(job["id"])
        assert {each.result(30).json()["status"] for each in waiting} == {"cancelled"}


def test_the_net_beneath_a_listener_that_was_cut(
    server: Server, tenant: Tenant, job: dict[str, Any], environment: dict[str, str]
) -> None:
    until(lambda: listening() == 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, server, tenant, job, 60)
        with transaction() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
            session.get_one(Job, job["id"]).version += 1  # without a notice
        assert waiting.result(30).status_code == 200
    until(lambda: listening() == 1)


def test_the_database_goes_away_meanwhile(
    environment: dict[str, str], tenant: Tenant, job: dict[str, Any], tmp_path: Path
) -> None:
    """A database of its own name refuses connections: 503 with a time to come back, and then again a job."""
    name = environment["DATABASE_URL"].rpartition("/")[2]
    admin = environment["DATABASE_URL"].rpartition("/")[0] + "/postgres"
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    with serve(environment, tmp_path / "log") as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, server, tenant, job, 4)
        try:
            execute(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', cut)
            answer = waiting.result(30)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert error_of(answer)["type"] == "server_error"
            ready = httpx.get(f"{server.url}/readyz", timeout=30)
            assert (ready.status_code, ready.json()["database"]) == (503, "away")
            assert httpx.get(f"{server.url}/healthz").status_code == 200
        finally:
            execute(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        until(lambda: httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200)
        assert wait(server, tenant, job, 0.1).status_code == 200


def test_who_waits_is_let_go_on_sigterm(
    environment: dict[str, str], tenant: Tenant, job: dict[str, Any], tmp_path: Path
) -> None:
    with serve(environment, tmp_path / "log") as server, ThreadPoolExecutor(1) as pool:
        before = listening()
        waiting = pool.submit(wait, server, tenant, job, 60)
        until(lambda: in_flight(server) == 1)
        server.process.send_signal(signal.SIGTERM)
        assert waiting.result(15).json()["id"] == job["id"]
        assert server.process.wait(15) == 0
        assert before >= 1


def in_flight(server: Server) -> int:
    """Connections that the server's process holds open, as the kernel counts them."""
    port = f":{server.port:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(1 for row in rows if row[1].endswith(port) and row[3] == "01")


@pytest.mark.parametrize(
    ("params", "param"),
    [({"wait": "61"}, "wait"), ({"wait": "-1"}, "wait"), ({"wait": "nan"}, "wait"), ({"since": "x"}, "since")],
)
def test_what_is_refused(tenant: Tenant, job: dict[str, Any], params: dict[str, str], param: str) -> None:
    refused = tenant.http.get(f"{URL}/{job['id']}", params=params)
    assert (refused.status_code, error_of(refused)["param"]) == (400, param)


def test_a_terminal_job_is_not_waited_for(server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
    with transaction() as session:
        jobs.fail(session, jobs.locked(session, job["id"]), code="x", message="y")
    answer = tenant.http.get(f"{URL}/{job['id']}", params={"wait": 60}, timeout=30)
    assert answer.json()["status"] == JobState.FAILED
