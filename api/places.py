"""A number of places, shared by projects, taken at once or not at all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.contract.errors import Unavailable

AGAIN_SECONDS = 5


class Places:
    """For one event loop. A project holds at most half of them, and one that holds none always gets one, beyond the
    number if need be; so what the others do keeps nobody out. Nobody queues: whoever gets none is told when to come
    back.
    """

    def __init__(self, number: int, what: str) -> None:
        self.most = max(1, number // 2)
        self._number = number
        self._what = what
        self._held: Counter[str] = Counter()

    @contextmanager
    def one(self, project_id: str) -> Iterator[None]:
        """Raises Unavailable `busy`."""
        with self.one_if_any(project_id) as taken:
            if not taken:
                raise self._busy(self._held[project_id])
            yield

    @contextmanager
    def one_if_any(self, project_id: str) -> Iterator[bool]:
        """Whether there was one."""
        held = self._held[project_id]
        if held and (held >= self.most or self.taken >= self._number):
            yield False
            return
        self._held[project_id] += 1
        try:
            yield True
        finally:
            self._held[project_id] -= 1
            if not self._held[project_id]:
                del self._held[project_id]

    @property
    def taken(self) -> int:
        return self._held.total()

    def _busy(self, held: int) -> Unavailable:
        why = f"Your project holds {held} of the {self.most} {self._what} that one project may hold at once"
        if held < self.most:
            why += ", and others hold the rest"
        return Unavailable(f"{why}; try again in {AGAIN_SECONDS} seconds.", code="busy", retry_after=AGAIN_SECONDS)
