"""A child that is started again when it dies, later each time."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local.child import Child

FIRST_SECONDS = 0.2
LAST_SECONDS = 10.0
HEALTHY_SECONDS = 30.0


@dataclass
class Kept:
    """`start` runs in the thread that calls `look`: the main one, since children die with the thread that made them."""

    child: Child
    start: Callable[[], None]
    _pause: float = field(default=FIRST_SECONDS, init=False)
    _started: float = field(default_factory=time.monotonic, init=False)
    _due: float | None = field(default=None, init=False)

    def look(self) -> None:
        now = time.monotonic()
        if self.child.alive:
            if now - self._started > HEALTHY_SECONDS:
                self._pause = FIRST_SECONDS
        elif self._due is None:
            code = self.child.process.returncode if self.child.process else None
            say(f"{self.child.name} ended with exit code {code}; it starts again in {self._pause:.1f} s")
            self._due = now + self._pause
            self._pause = min(self._pause * 2, LAST_SECONDS)
        elif now >= self._due:
            self._due, self._started = None, now
            try:
                self.start()
            except OSError as error:
                say(f"{self.child.name} does not start: {error}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
