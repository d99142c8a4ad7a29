"""On loopback only this machine's names are served, so that no page's name can be turned to it."""

import pytest

from api.hosts import Hosts, served
from core.contract.errors import BadInput


def serves(hosts: Hosts | None, *headers: str) -> bool:
    assert hosts is not None
    return hosts.serves([tuple(part.encode() for part in each.split("=", 1)) for each in headers])  # type: ignore[misc]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost", "localhost.", "127.0.0.1", "127.0.0.1:9", "127.8.9.1", "[::1]:8000"],
)
def test_this_machines_names(host: str) -> None:
    assert serves(served("127.0.0.1", ""), f"host={host}")
    assert serves(served("::1", ""), f"host={host}", f"origin=http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "[",
        "[::1",
        "a@localhost",
    ],
)
def test_all_else(host: str) -> None:
    hosts = served("localhost", "")
    if host != "[::1":
        assert not serves(hosts, f"host={host}")
    assert not serves(hosts, "host=localhost", f"origin=http://{host or 'x'}evil.example")


def test_each_that_is_sent_counts_and_null_is_an_origin() -> None:
    hosts = served("127.0.0.1", "")
    assert not serves(hosts, "host=localhost", "host=evil.example")
    assert not serves(hosts, "host=localhost", "origin=null")
    assert serves(hosts, "accept=*/*")


def test_named_ones_and_other_listeners() -> None:
    assert served("0.0.0.0", "") is served("10.0.0.1", "") is served("::", "") is None
    for listens_on in ("127.0.0.1", "0.0.0.0"):
        hosts = served(listens_on, "Palate.example.org, 10.0.0.9")
        assert serves(hosts, "host=palate.example.org:443", "origin=https://palate.example.org")
        assert serves(hosts, "host=10.0.0.9")
        assert serves(hosts, "host=localhost")
        assert not serves(hosts, "host=palate.example.com")


@pytest.mark.parametrize("told", ["*", "https://palate.example.org", "palate.example.org:443", "a b", "*.example.org"])
def test_what_is_no_host_is_told(told: str) -> None:
    with pytest.raises(BadInput, match="PALATE_ALLOWED_HOSTS"):
        served("127.0.0.1", told)
