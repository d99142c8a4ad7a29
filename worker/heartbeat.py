"""Renewing the lease on a connection of its own; a holder that cannot renew ends itself before another takes over."""

import logging
import threading
import time
from collections.abc import Callable

from core.contract.errors import Fenced, Unavailable
from core.contract.states import Wish
from core.db import attempts
from core.db.attempts import Lease
from core.db.engine import Session, make_engine, unavailable_as_such

log = logging.getLogger(__name__)


class Heartbeat:
    """`with Heartbeat(...)`: `lost` is set when the lease is gone or could not be renewed for `fence_seconds`."""

    def __init__(
        self,
        lease: Lease,
        database_url: str,
        *,
        lease_seconds: float,
        every_seconds: float,
        fence_seconds: float,
        on_lost: Callable[[], None],
    ) -> None:
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._every = every_seconds
        self._fence = fence_seconds
        self._on_lost = on_lost
        # 5 s of 40: an answer that does not come leaves time to try again.
        self._engine = make_engine(database_url, pool_size=1, statement_timeout_ms=round(1_000 * fence_seconds / 8))
        self._done = threading.Event()
        self.lost = threading.Event()
        self.wish = Wish.RUN
        self._renewed = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        pause = self._every
        while not self._done.wait(pause):
            sent = time.clock_gettime(time.CLOCK_BOOTTIME)
            pause = self._every
            try:
                with unavailable_as_such(), Session(self._engine) as session, session.begin():
                    self.wish = attempts.hold(session, self._lease, self._lease_seconds)
                self._renewed = sent
            except Fenced as error:
                self._lose(str(error))
                return
            except Unavailable as error:
                pause = min(self._every, 1.0)
                log.warning("lease not renewed: %s", error)
            if time.clock_gettime(time.CLOCK_BOOTTIME) - self._renewed > self._fence:
                self._lose(f"the lease could not be renewed for {self._fence} s")
                return

    def _lose(self, reason: str) -> None:
        log.error("fenced: %s", reason)
        self.lost.set()
        self._on_lost()

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)
        self._engine.dispose()
