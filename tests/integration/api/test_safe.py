"""What every answer says to a browser, whom it answers, and that its pages run nothing and need nobody's files."""

import re

import httpx
import pytest

from tests.integration.api.conftest import Server, Tenant, error_of

NOTHING = {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "default-src 'none'"}


def directives(answer: httpx.Response) -> set[str]:
    return {each.strip() for each in answer.headers["content-security-policy"].split(";")}


def safe(answer: httpx.Response, *, kept: bool = False) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers.get_list("cache-control") == ["public, max-age=300" if kept else "no-store"]
    assert directives(answer) >= NOTHING
    assert not [each for each in directives(answer) if each.startswith("script-src")]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_answers_of_all_kinds(tenant: Tenant, server: Server, base_model: str) -> None:
    file = tenant.upload()
    paths = [
        f"/v1/files/{file}",
        f"/v1/files/{file}/content",
        f"/v1/models/{base_model}/files/config.json",
        "/v1/nothing",
    ]
    paths += ["/healthz", "/readyz", "/v1/files/nobody", f"/v1/files/{file}?x=%00"]
    for path in paths:
        safe(tenant.http.get(path))
        safe(httpx.get(f"{server.url}{path}"))
    safe(httpx.get(f"{server.url}/healthz", headers={"x": "x" * 70_000}))
    safe(tenant.http.put("/v1/files"))


@pytest.mark.parametrize("what", ["report", "preview?model="])
def test_pages(what: str, tenant: Tenant, base_model: str) -> None:
    path = f"/v1/files/{tenant.upload()}/{what}"
    answer = tenant.http.get(path + (base_model if what.endswith("=") else ""), headers={"accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    safe(answer)


def test_the_docs_are_a_page_of_our_own(server: Server) -> None:
    page = httpx.get(f"{server.url}/docs")
    safe(page, kept=True)
    safe(httpx.get(f"{server.url}/openapi.json"), kept=True)
    assert "<script" not in page.text
    assert re.findall(r"""(?:src|href)=["']?((?:https?:)?//[^"'> ]+)""", page.text) == []
    for path in ("/v1/files", "/v1/fine_tuning/jobs/{job_id}/events", "/v1/models/{model}"):
        assert f" {path}</h3>" in page.text
    assert httpx.get(f"{server.url}/redoc").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:8000"}, {"origin": "http://evil.example"}, {"origin": "null"}],
)
@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/docs"])
def test_a_page_whose_name_was_turned_to_this_machine(path: str, headers: dict[str, str], tenant: Tenant) -> None:
    refused = tenant.http.get(path, headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (421, "host_not_served")
    safe(refused)


def test_this_machines_own_names(server: Server) -> None:
    for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST"):
        assert httpx.get(f"{server.url}/healthz", headers={"host": host}).status_code == 200
    own = {"origin": f"http://localhost:{server.port}"}
    safe(httpx.get(f"{server.url}/healthz", headers=own))


def test_no_browser_is_told_that_it_may_read(server: Server) -> None:
    asks = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    refused = httpx.options(f"{server.url}/v1/files", headers=asks)
    assert refused.status_code == 405
    safe(refused)
