"""Waiting by condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = 60.0, every: float = 0.05) -> T:
    """What `look` returns as soon as that is true; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)
