"""What never changes once it is stored, read once a process."""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.orm import Session

MOST = 64
T = TypeVar("T")


class Remembered(Generic[T]):
    """The last few values of each database, by key."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Engine, dict[str, T]] = WeakKeyDictionary()

    def of(self, session: Session, key: str, read: Callable[[], T | None]) -> T | None:
        """What `read` found; nothing is remembered of what is not there yet."""
        here = self._known.setdefault(session.get_bind().engine, {})
        found = here.get(key)
        if found is None and (found := read()) is not None:
            if len(here) >= MOST:
                here.clear()
            here[key] = found
        return found
