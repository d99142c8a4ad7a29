"""Which hosts and origins are served: a page whose name was turned to this machine (DNS rebinding) is none of them."""

import ipaddress
import re
from collections.abc import Iterable

from core.contract.errors import BadInput

NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


class Hosts:
    """`None` instead of one: every host is served."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *names}

    def serves(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Every `Host` that was sent, and every `Origin`. Who sends no host is no browser."""
        for name, value in headers:
            if name == b"host" and not self._is_ours(value):
                return False
            if name == b"origin" and not self._is_ours(value.partition(b"://")[2]):
                return False
        return True

    def _is_ours(self, value: bytes) -> bool:
        name = host_of(value.decode("latin-1"))
        return name in self._names or is_loopback(name)


def host_of(value: str) -> str:
    """Without the port and the brackets of an address."""
    value = value.strip().lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0].removesuffix(".")


def is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def served(listens_on: str, allowed: str) -> Hosts | None:
    """By where the API listens: on loopback only this machine's names and those of PALATE_ALLOWED_HOSTS; elsewhere the
    same where that is set, else every one."""
    names = [each.strip().lower() for each in allowed.split(",") if each.strip()]
    for each in names:
        if not NAME.fullmatch(each) and not is_address(each):
            raise BadInput(
                f"PALATE_ALLOWED_HOSTS: {each!r} is no host; write names or addresses without a port, with commas "
                "between them, such as palate.example.org."
            )
    inside = listens_on == "localhost" or is_loopback(listens_on)
    return Hosts(names) if inside or names else None


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
