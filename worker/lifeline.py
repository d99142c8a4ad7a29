"""Embedded mode: a process of the worker ends with `palate up`, also when that is killed with SIGKILL."""

import os
import threading
from collections.abc import Callable

from core import settings
from worker import kill


def watch(on_death: Callable[[], None] = lambda: None) -> None:
    """Starts a thread that waits for the lifeline's death, calls `on_death` and ends this process at once."""
    named = settings.worker().lifeline
    if not named:
        return
    lifeline = kill.parse(named)

    def follow() -> None:
        while not kill.wait(lifeline, 3_600):
            pass
        try:
            on_death()
        finally:
            os._exit(1)

    threading.Thread(target=follow, name="lifeline", daemon=True).start()
