"""The same request twice is one job."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.api.conftest import Tenant, error_of

URL = "/v1/fine_tuning/jobs"


@pytest.fixture
def body(tenant: Tenant, base_model: str) -> dict[str, str]:
    return {"model": base_model, "training_file": tenant.upload()}


def test_a_key_names_one_job(tenant: Tenant, body: dict[str, str]) -> None:
    key = {"idempotency-key": "k 1"}
    first = tenant.http.post(URL, json=body, headers=key)
    again = tenant.http.post(URL, json=dict(reversed(body.items())), headers=key)
    assert first.status_code == again.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    assert ("x-palate-replayed" in first.headers, again.headers["x-palate-replayed"]) == (False, "true")
    other = tenant.http.post(URL, json=body | {"seed": 1}, headers=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    assert len(tenant.http.get(URL).json()["data"]) == 1


def test_a_refused_request_binds_no_key(tenant: Tenant, body: dict[str, str]) -> None:
    key = {"idempotency-key": "k"}
    assert tenant.http.post(URL, json=body | {"model": "nobody"}, headers=key).status_code == 400
    made = tenant.http.post(URL, json=body, headers=key)
    assert (made.status_code, "x-palate-replayed" in made.headers) == (200, False)


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
def test_a_key_of_another_shape(tenant: Tenant, body: dict[str, str], key: str) -> None:
    refused = tenant.http.post(URL, json=body, headers={"idempotency-key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert (refused.status_code, error_of(refused)["param"]) == (400, "Idempotency-Key")


def test_the_sdks_retry_finds_the_first_job(tenant: Tenant, body: dict[str, str]) -> None:
    def post(count: int) -> httpx.Response:
        return tenant.http.post(URL, json=body, headers={"x-stainless-retry-count": str(count)})

    first, twin = post(0).json()["id"], post(0).json()["id"]
    assert first != twin
    retry = post(1)
    assert (retry.json()["id"], retry.headers["x-palate-replayed"]) == (twin, "true")
    assert post(2).json()["id"] == twin
    events = tenant.http.get(f"{URL}/{twin}/events").json()["data"]
    assert "repeated create request" in events[0]["message"]


def test_twelve_at_once_are_one(tenant: Tenant, body: dict[str, str]) -> None:
    def post(_: int) -> httpx.Response:
        return tenant.http.post(URL, json=body, headers={"idempotency-key": "race"})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(post, range(12)))
    made = {each.json()["id"] for each in answers if each.status_code == 200}
    assert len(made) == 1
    for each in answers:
        if each.status_code != 200:
            assert (each.status_code, error_of(each)["code"]) == (409, "idempotency_key_in_flight")
            assert "x-should-retry" not in each.headers
    assert len(tenant.http.get(URL).json()["data"]) == 1
