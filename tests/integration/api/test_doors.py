"""Keys, unknown routes, health, and the one shape of every refusal."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import openai
import pytest
from sqlalchemy import update

from core.db import keys
from core.db.engine import transaction
from core.db.migrate import head
from core.db.tables import Key
from core.objects.store import Store
from tests.integration.api.conftest import Server, Tenant, error_of, execute, serve, until


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic x", "Bearer plt_x_y", "Bearer sk-123", "Bearer \xe4", "bearer x"]
)
def test_no_key_or_a_wrong_one(server: Server, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    refused = httpx.get(f"{server.url}/v1/models", headers=headers)  # type: ignore[arg-type]
    assert (refused.status_code, error_of(refused)["type"]) == (401, "authentication_error")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_the_right_id_with_another_secret(server: Server, tenant: Tenant) -> None:
    head, _, secret = tenant.token.rpartition("_")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=f"{head}_{secret[::-1]}", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            sdk.models.list()
        assert refused.value.code == "invalid_api_key"


def test_a_revoked_key_ends_within_five_seconds(tenant: Tenant) -> None:
    assert tenant.http.get("/v1/models").status_code == 200
    with transaction() as session:
        keys.revoke(session, tenant.key_id)
    until(lambda: tenant.http.get("/v1/models").status_code == 401, 6)


def test_an_expired_key_says_so_to_who_has_its_secret(server: Server, tenant: Tenant) -> None:
    """Also when it expires between two requests; another secret learns nothing of it."""
    with transaction() as session:
        key, token = keys.create(session, tenant.project_id, expires_in=timedelta(seconds=-1))
        _, soon = keys.create(session, tenant.project_id, expires_in=timedelta(seconds=1))
    refused = asked(server, token)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "expired_api_key")
    assert f"The API key {key.id} expired at" in error_of(refused)["message"]
    assert error_of(asked(server, token[:-1] + ("0" if token[-1] != "0" else "1")))["code"] == "invalid_api_key"
    assert asked(server, soon).status_code == 200
    until(lambda: asked(server, soon).status_code == 401, 8)
    assert error_of(asked(server, soon))["code"] == "expired_api_key"


def asked(server: Server, token: str) -> httpx.Response:
    return httpx.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {token}"})


def last_used(tenant: Tenant) -> datetime | None:
    with transaction() as session:
        return keys.page(session, tenant.project_id)[0][0].last_used_at


def test_the_last_use_of_a_key_is_written_once_a_minute(tenant: Tenant) -> None:
    """And again where a minute has passed; never of a key that was refused."""
    assert last_used(tenant) is None
    assert tenant.http.get("/v1/models").status_code == 200
    until(lambda: last_used(tenant) is not None)
    first = last_used(tenant)
    keys.used(tenant.key_id)
    assert last_used(tenant) == first
    with transaction() as session:
        session.execute(update(Key).where(Key.id == tenant.key_id).values(last_used_at=first - timedelta(seconds=61)))
    keys.used(tenant.key_id)
    assert (now := last_used(tenant)) is not None
    assert now >= first


def test_what_is_stored_of_a_key(tenant: Tenant) -> None:
    with transaction() as session:
        rows, _ = keys.page(session, tenant.project_id)
    assert [row.id for row in rows] == [tenant.key_id]
    assert tenant.token.rpartition("_")[2] not in str(vars(rows[0]))


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/files/", "/v1/uploads", "/v1/webhooks"])
def test_no_such_route(tenant: Tenant, path: str) -> None:
    refused = tenant.http.get(path)
    assert (refused.status_code, error_of(refused)["code"]) == (404, "unknown_route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/files", {"GET", "POST"}),
        ("PATCH", "/v1/models/x", {"GET", "DELETE"}),
        ("GET", "/v1/fine_tuning/jobs/x/cancel", {"POST"}),
        ("POST", "/healthz", {"GET"}),
    ],
)
def test_another_method(tenant: Tenant, method: str, path: str, allowed: set[str]) -> None:
    refused = tenant.http.request(method, path)
    assert (refused.status_code, error_of(refused)["code"]) == (405, "method_not_allowed")
    assert set(refused.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/v1/files/%00", "/v1/files?after=%00", "/v1/models/a%00b", "/v1/files/a?x=%00"])
def test_a_nul_goes_nowhere(tenant: Tenant, path: str) -> None:
    assert error_of(tenant.http.get(path))["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path", ["/v1/files/%ff", "/v1/files?after=%ff%fe", "/v1/models/%ed%a0%80", "/v1/files?limit=1&limit=2"]
)
def test_odd_bytes_are_no_bug(tenant: Tenant, path: str) -> None:
    assert tenant.http.get(path).status_code < 500


def test_healthy_and_ready_without_a_key(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {
        "ready": True,
        "database": "ok",
        "store": "ok",
        "queue": "ok",
        "api": "ok",
    }
    assert httpx.get(f"{server.url}/openapi.json").json()["info"]["title"] == "Palate"
    assert httpx.get(f"{server.url}/docs").status_code == 200


def test_redis_is_away(environment: dict[str, str], tenant: Tenant, base_model: str, tmp_path: Path) -> None:
    """No request waits for the bell, and none fails by it."""
    with serve({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}, tmp_path / "log") as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=tenant.token, max_retries=0) as sdk:
            file = sdk.files.create(file=b"x\n", purpose="fine-tune").id
            assert sdk.fine_tuning.jobs.create(model=base_model, training_file=file).status == "validating_files"
        ready = httpx.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["queue"]) == (200, "away")


def test_an_older_schema_is_not_ready(environment: dict[str, str], server: Server, store: Store) -> None:
    url = environment["DATABASE_URL"]
    try:
        execute(url, "UPDATE alembic_version SET version_num = '0000'")
        ready = httpx.get(f"{server.url}/readyz")
        assert (ready.status_code, "palate migrate" in ready.json()["database"]) == (503, True)
        execute(url, "UPDATE alembic_version SET version_num = '9999'")
        assert httpx.get(f"{server.url}/readyz").status_code == 200
    finally:
        execute(url, f"UPDATE alembic_version SET version_num = '{head()}'")


def test_all_connections_are_taken(environment: dict[str, str], tenant: Tenant, tmp_path: Path) -> None:
    """A table that is locked: each answer comes within the database's own limits, as a 503."""
    small = {
        **environment,
        "PALATE_POOL_SIZE": "1",
        "PALATE_POOL_TIMEOUT": "0.2",
        "PALATE_STATEMENT_TIMEOUT_MS": "1000",
    }
    with serve(small, tmp_path / "log") as server, transaction() as session:
        session.connection().exec_driver_sql("LOCK TABLE files IN ACCESS EXCLUSIVE MODE")
        refused = httpx.get(f"{server.url}/v1/files", headers={"authorization": f"Bearer {tenant.token}"}, timeout=30)
    assert (refused.status_code, error_of(refused)["code"]) == (503, "unavailable")
    assert json.loads(refused.headers["retry-after"]) > 0
