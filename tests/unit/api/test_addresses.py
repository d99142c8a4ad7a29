"""Who counts as one, and whose word about others is taken."""

import ipaddress

import pytest

from api.addresses import party, trusted
from core.contract.errors import BadInput


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unix", "unknown"),
        ("9" * 100_000, "unknown"),
    ],
)
def test_one_party(host: str, same: str) -> None:
    assert party(host) == same


def test_networks_also_as_a_listener_on_every_address_sees_them() -> None:
    networks = trusted(" 10.0.0.7, 192.168.0.0/16,2001:db8::/32 ,")
    assert networks == [
        "10.0.0.7/32",
        "::ffff:10.0.0.7/128",
        "192.168.0.0/16",
        "::ffff:192.168.0.0/112",
        "2001:db8::/32",
    ]
    assert ipaddress.ip_address("::ffff:192.168.3.4") in ipaddress.ip_network(networks[3])
    assert trusted("") == []


@pytest.mark.parametrize(
    "told", ["*", "proxy.example.org", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "0.0.0.0/0", "::/0"]
)
def test_what_is_no_network_is_told(told: str) -> None:
    with pytest.raises(BadInput, match="PALATE_TRUSTED_PROXIES"):
        trusted(told)
