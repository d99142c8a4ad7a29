"""Who is who before a key is known: addresses, and the proxies whose word about them is taken."""

import ipaddress
from functools import lru_cache

from core.contract.errors import BadInput

# What one subscriber of IPv6 is given at least.
SUBSCRIBER = 64
MAPPED = 96


@lru_cache(4_096)
def party(host: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one: within it anybody has as many as he likes."""
    try:
        found = ipaddress.ip_address(host[:64].partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, SUBSCRIBER), strict=False))
    return str(found)


def trusted(told: str) -> list[str]:
    """The networks that PALATE_TRUSTED_PROXIES names, IPv4 ones also as a listener on `::` sees them."""
    networks: list[str] = []
    for each in filter(None, map(str.strip, told.split(","))):
        try:
            network = ipaddress.ip_network(each)
        except ValueError as error:
            raise BadInput(
                f"PALATE_TRUSTED_PROXIES: {each!r} is no network ({error}); write addresses and networks with commas "
                "between them, such as 10.0.0.7, 192.168.1.0/24."
            ) from None
        if not network.prefixlen:
            raise BadInput(f"PALATE_TRUSTED_PROXIES: {each} is everybody, so anybody could say who he is.")
        networks.append(str(network))
        if isinstance(network, ipaddress.IPv4Network):
            networks.append(f"::ffff:{network.network_address}/{MAPPED + network.prefixlen}")
    return networks
