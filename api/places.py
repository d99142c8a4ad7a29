"""A number of places, taken at once or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.contract.errors import Unavailable


class Places:
    """For one event loop. Nobody queues: whoever finds none free is told when to come back."""

    def __init__(self, number: int, what: str) -> None:
        self.free = number
        self._what = what

    @contextmanager
    def one(self) -> Iterator[None]:
        if self.free <= 0:
            raise Unavailable(f"All {self._what} are taken; try again shortly.", code="busy", retry_after=5)
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1
