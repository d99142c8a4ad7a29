"""PostgreSQL, Valkey and SeaweedFS as child processes, with their data in one folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from local import ports, private, secrets
from local.child import Child, PartFailed
from local.postgres import Postgres
from local.seaweed import Seaweed
from local.valkey import Valkey

READY_SECONDS = 60.0
POLL_SECONDS = 0.02
STARTS = 3


class Part(Protocol):
    name: str
    child: Child

    def start(self) -> None: ...
    def ready(self) -> bool: ...
    def clean(self) -> None: ...
    def environment(self) -> dict[str, str]: ...


class Stack:
    """`with Stack(home) as stack:` runs the three parts; `stack.environment` is what core.settings.Parts reads.

    Start it from the main thread: the parts die with the thread that made them.
    """

    def __init__(self, home: Path, *, database: str = "palate", bucket: str = "palate") -> None:
        self.home = home.absolute()
        private.close(self.home)
        self.database = database
        self.bucket = bucket
        self._arrange(ports.load(self.home / "ports.json"))

    @classmethod
    def running(cls, home: Path) -> "Stack":
        """The one that another process runs in `home`: for its `environment`, never to be started. Raises NotOurs."""
        private.refuse_others(home)
        found = cls.__new__(cls)
        found.home, found.database, found.bucket = home.absolute(), "palate", "palate"
        found._arrange(ports.read(found.home / "ports.json"))
        return found

    def _arrange(self, chosen: dict[str, int]) -> None:
        known = secrets.load(self.home / "secrets.json")
        passwords = known["postgres"], known["postgres_service"]
        self.postgres = Postgres(self.home, chosen["postgres"], passwords, self.database)
        self.valkey = Valkey(self.home, chosen["valkey"], known["valkey"])
        self.seaweed = Seaweed(self.home, chosen, known, self.bucket)

    @property
    def parts(self) -> tuple[Part, ...]:
        """In the order of stopping: PostgreSQL last."""
        return (self.seaweed, self.valkey, self.postgres)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for part in self.parts for name, value in part.environment().items()}

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """All side by side; returns when each answers. Another process may take a port first: then with new ones.

        `check` is called while it waits; what it raises ends the start.
        """
        for attempt in range(1, STARTS + 1):
            try:
                for part in self.parts:
                    part.start()
                self.wait(check=check)
                return
            except PartFailed:
                self.stop(at_once=True)
                if attempt == STARTS:
                    raise
                self._arrange(ports.renew(self.home / "ports.json"))
            except BaseException:
                self.stop(at_once=True)
                raise

    def wait(self, seconds: float = READY_SECONDS, check: Callable[[], None] = lambda: None) -> None:
        """Until every part answers; a part that ends meanwhile is started again for as long as `_may_retry` says."""
        deadline = time.monotonic() + seconds
        waiting = list(self.parts)
        while waiting:
            check()
            for part in list(waiting):
                if not part.child.alive:
                    if not _may_retry(part) or time.monotonic() > deadline:
                        raise part.child.failure()
                    time.sleep(POLL_SECONDS * 10)
                    part.start()
                elif part.ready():
                    waiting.remove(part)
                elif time.monotonic() > deadline:
                    raise part.child.failure()
            if waiting:
                time.sleep(POLL_SECONDS)

    def stop(self, *, at_once: bool = False) -> None:
        for part in self.parts:
            if at_once:
                part.child.kill()
            else:
                part.child.stop()
            part.clean()

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _may_retry(part: Part) -> bool:
    """After kill -9 the last server's processes may still be leaving when the new one looks for them."""
    return part.name == "postgres" and any(
        sign in part.child.log_tail() for sign in ("postmaster.pid", "shared memory block")
    )
