"""Wrong keys: seen in the log, never by their secret; slowed down by address, and nobody else with them."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from api.__main__ import main
from core.db import keys
from core.db.engine import transaction
from tests.conftest import forget
from tests.integration.api.conftest import Tenant, error_of, serve

MOST = 10
KEY, SECRET = "abcdefgh01234567", "z" * 40
LIMITS = {"PALATE_WRONG_KEYS_PER_MINUTE": str(MOST)}


def models(client: httpx.Client, token: str | None, **headers: str) -> httpx.Response:
    return client.get("/v1/models", headers=headers | ({"authorization": f"Bearer {token}"} if token else {}))


def client(url: str, address: str = "127.0.0.1") -> httpx.Client:
    return httpx.Client(base_url=url, transport=httpx.HTTPTransport(local_address=address))


def test_they_are_seen_and_slowed_down(
    environment: dict[str, str], tenants: Callable[[], Tenant], tmp_path: Path
) -> None:
    """And good ones are not counted. What a proxy that nobody trusts says of an address changes nothing."""
    known, new = tenants(), tenants()
    with transaction() as session:
        tokens = [keys.create(session, known.project_id)[1] for _ in range(2 * MOST)]
    with serve({**environment, **LIMITS}, tmp_path / "log") as server, client(server.url) as here:
        assert [models(here, each).status_code for each in (known.token, *tokens)] == [200] * (1 + 2 * MOST)
        answers = [models(here, f"plt_{KEY}_{SECRET}", **{"x-forwarded-for": f"10.0.0.{n}"}) for n in range(3 * MOST)]
        answers += [models(here, "sk-a-secret-of-another-service"), models(here, new.token)]
        assert [each.status_code for each in answers[:MOST]] == [401] * MOST
        slowed = answers[MOST:]
        assert {each.status_code for each in slowed} == {429}
        assert error_of(slowed[0])["code"] == "rate_limit_exceeded"
        assert f"{MOST} keys" in error_of(slowed[0])["message"]
        assert all(0 < int(each.headers["retry-after"]) < 60 for each in slowed)
        assert models(here, None).status_code == 401, "it costs nothing"
        assert models(here, known.token).status_code == 200, "who was good before is looked up"
        with client(server.url, "127.0.0.2") as elsewhere:
            assert models(elsewhere, new.token).status_code == 200
        assert models(here, new.token).status_code == 200, "it is known by now"
    log = (tmp_path / "log").read_text()
    rows = re.findall(r"refused of (\S+) within a minute: (.*)", log)
    assert [address for address, _ in rows] == ["127.0.0.1"]
    assert f"{MOST} with a wrong key" in rows[0][1]
    assert f"{2 * MOST + 2} unheard after too many wrong keys" in rows[0][1]
    assert "1 without a key" in rows[0][1]
    assert f"{KEY} {3 * MOST} x" in rows[0][1]
    assert not [secret for secret in (SECRET, "sk-a", new.token[-40:]) if secret in log]


def test_who_a_trusted_proxy_names(environment: dict[str, str], tenant: Tenant, tmp_path: Path) -> None:
    """The last address that is not the proxy's own; what the client wrote before it is its own fancy."""
    trusting = {**environment, **LIMITS, "PALATE_TRUSTED_PROXIES": "127.0.0.2, 192.168.0.0/16"}
    trusting["PALATE_REQUESTS_PER_SECOND"] = "0"
    wrong = f"plt_{KEY}_{SECRET}"
    with serve(trusting, tmp_path / "log") as server:
        with client(server.url, "127.0.0.2") as proxy:
            for _ in range(2 * MOST):
                models(proxy, wrong, **{"x-forwarded-for": "8.8.8.8, 10.0.0.7, 192.168.1.1"})
            assert models(proxy, tenant.token, **{"x-forwarded-for": "10.0.0.7"}).status_code == 429
            served = models(proxy, tenant.token, **{"x-forwarded-for": "10.0.0.8"})
            assert served.status_code == 200
            assert not [name for name in served.headers if "ratelimit" in name], "there is no limit to tell of"
            models(proxy, wrong, **{"x-forwarded-for": "x" * 10_000})
        with client(server.url, "127.0.0.3") as stranger:
            models(stranger, wrong, **{"x-forwarded-for": "10.0.0.9"})
    rows = re.findall(r"refused of (\S+) within a minute", (tmp_path / "log").read_text())
    assert sorted(rows) == ["10.0.0.7", "127.0.0.3", "unknown"]


@pytest.mark.parametrize(
    "wrong",
    [{"PALATE_TRUSTED_PROXIES": "*"}, {"PALATE_TRUSTED_PROXIES": "proxy"}, {"PALATE_ALLOWED_HOSTS": "https://a"}],
)
def test_what_is_misconfigured_is_told_at_the_start(wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    forget()
    monkeypatch.setattr("sys.argv", ["api", "--port", "0"])
    with pytest.raises(SystemExit, match=next(iter(wrong))):
        main()
