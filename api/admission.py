"""Who may be connected: so many at once, told apart by address; who is new is not shut out by who is silent."""

import resource
from collections.abc import Iterable
from typing import Protocol

from api.refusals import FULL, Refusals

# More would be no use to the parts behind, and some of what select(2) serves cannot name them.
MOST_DESCRIPTORS = 1 << 16
# Of heads that have begun: each may hold SMALL_BYTES, and what is beyond that is of all of them together.
SMALL_BYTES = 4 << 10
LARGE_BYTES = 8 << 20


class Guest(Protocol):
    """A connection; `idle` while no request of it is under way."""

    address: str

    @property
    def idle(self) -> bool: ...

    def evict(self) -> None: ...


class Admission:
    """Of one process. When all `most` places are taken, the address that holds most gives up the connection of its that
    has been idle for longest. Nobody gives up one for an address that holds more than it does."""

    def __init__(self, most: int, refusals: Refusals) -> None:
        self.refusals = refusals
        self.count = 0
        self.large = 0
        self._most = most
        self._of: dict[str, dict[Guest, None]] = {}

    def enter(self, guest: Guest) -> bool:
        if self.count >= self._most:
            found = self._longest_idle(guest.address)
            self.refusals.count(found.address if found else guest.address, FULL)
            if found is None:
                return False
            self.leave(found)
            found.evict()
        self._of.setdefault(guest.address, {})[guest] = None
        self.count += 1
        return True

    def leave(self, guest: Guest) -> None:
        """Also of who has left, or has never been let in."""
        others = self._of.get(guest.address, {})
        if guest in others:
            del others[guest]
            self.count -= 1
            if not others:
                del self._of[guest.address]

    def rests(self, guest: Guest) -> None:
        """It is idle from now on: the last in its address's row."""
        others = self._of.get(guest.address, {})
        if guest in others:
            del others[guest]
            others[guest] = None

    def _longest_idle(self, for_whom: str) -> Guest | None:
        least = max(1, len(self._of.get(for_whom, ())))
        by_size: Iterable[dict[Guest, None]] = sorted(self._of.values(), key=len, reverse=True)
        for guests in by_size:
            if len(guests) < least:
                return None
            for each in guests:
                if each.idle:
                    return each
        return None


def raise_descriptors() -> int:
    """As many as this process may open: the soft limit becomes the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
