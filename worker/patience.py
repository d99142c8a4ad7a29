"""Trying again while a part is away: the store a few times, Postgres for longer than a lease lives without it."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from core.contract.errors import Unavailable
from core.objects.faults import AWAY

log = logging.getLogger(__name__)
STORE_TRIES = 6
# A holder whose heartbeat does not pass either is ended long before.
DATABASE_SECONDS = 300.0
LONGEST_PAUSE = 5
T = TypeVar("T")


def patiently(act: Callable[[], T], doing: str) -> T:
    """Raises Unavailable when it stays away; whatever else `act` raises, at once. `act` may be done twice."""
    began, tries, stores = time.monotonic(), 0, 0
    while True:
        try:
            return act()
        except Unavailable as error:
            tries += 1
            stores += error.code == AWAY
            if stores == STORE_TRIES or time.monotonic() - began > DATABASE_SECONDS:
                raise
            log.warning("%s, try %d: %s", doing, tries, error)
            time.sleep(min(tries, LONGEST_PAUSE))
