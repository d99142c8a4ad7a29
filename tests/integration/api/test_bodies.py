"""JSON bodies that two readers could read differently, and those that are too much."""

import json

import pytest

from tests.integration.api.conftest import Tenant, error_of

URL = "/v1/fine_tuning/jobs"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'\xef\xbb\xbf{"model": "a"}',
        b'{"model": "a", "model": "b"}',
        b'{"model": "a", "mod\\u0065l": "b"}',
        b'{"seed": NaN}',
        b'{"seed": -Infinity}',
        b'{"seed": 1e400}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"model": "a\\u0000"}',
        b'{"model": "\\ud800"}',
        b'{"model": "a\x00"}',
        b'{"a": ' * 40 + b"1" + b"}" * 40,
        b"[" * 100_000,
        b"{} {}",
    ],
)
def test_not_strictly_json(tenant: Tenant, body: bytes) -> None:
    refused = tenant.http.post(URL, content=body, headers=JSON)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type(tenant: Tenant, kind: str) -> None:
    refused = tenant.http.post(URL, content=b"{}", headers={"content-type": kind})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"'])
def test_not_an_object(tenant: Tenant, body: bytes) -> None:
    refused = tenant.http.post(URL, content=body, headers=JSON)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_type")


def test_too_large(tenant: Tenant) -> None:
    body = json.dumps({"model": "x" * (2 << 20)}).encode()
    refused = tenant.http.post(URL, content=body, headers=JSON)
    assert (refused.status_code, error_of(refused)["code"]) == (413, "too_large")
    refused = tenant.http.post(URL, content=iter([body]), headers=JSON)
    assert (refused.status_code, error_of(refused)["code"]) == (413, "too_large")


def test_a_key_of_another_kind(tenant: Tenant) -> None:
    body = json.dumps({"model": "m", "training_file": "f", "Model": 1}).encode()
    refused = tenant.http.post(URL, content=body, headers=JSON | {"content-type": "application/json; charset=utf-8"})
    assert error_of(refused)["message"] == "Unknown parameter: 'Model'. Did you mean 'model'?"
