"""Who was refused before a key was known: a row in the log for each address and minute."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

MINUTE = 60.0
MOST_ADDRESSES = 1_000
MOST_KEYS = 5
REST = "other addresses"

NO_KEY = "without a key"
WRONG_KEY = "with a wrong key"
TOO_MANY = "unheard after too many wrong keys"
HEAD = "with a head that was too large, too slow or no HTTP"
FULL = "for want of a connection"


@dataclass
class Refused:
    """Of one address: how often and why, and the ids of some keys, by how often each was sent; never a secret."""

    why: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    more_keys: int = 0


class Refusals:
    """Bounded: what comes from more than MOST_ADDRESSES addresses within a minute is one row."""

    def __init__(self) -> None:
        self._by_address: dict[str, Refused] = {}

    def count(self, address: str, why: str, key_id: str | None = None) -> None:
        if address not in self._by_address and len(self._by_address) >= MOST_ADDRESSES:
            address = REST
        found = self._by_address.setdefault(address, Refused())
        found.why[why] += 1
        if key_id is None:
            return
        if key_id in found.keys or len(found.keys) < MOST_KEYS:
            found.keys[key_id] += 1
        else:
            found.more_keys += 1

    def tell(self) -> None:
        """What was counted since the last time, and forgets it."""
        told, self._by_address = self._by_address, {}
        for address, found in told.items():
            reasons = ", ".join(f"{count} {why}" for why, count in found.why.items())
            keys = ", ".join(f"{key} {count} x" for key, count in found.keys.items())
            more = f", others {found.more_keys} x" if found.more_keys else ""
            log.warning(
                "refused of %s within a minute: %s%s", address, reasons, f" (keys: {keys}{more})" if keys else ""
            )

    async def tell_each_minute(self) -> None:
        while True:
            await asyncio.sleep(MINUTE)
            self.tell()
