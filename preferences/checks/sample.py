"""A sample of fixed size from a stream of unknown length, the same each time (reservoir sampling, Vitter 1985)."""

import random
from typing import Generic, TypeVar

T = TypeVar("T")


class Sample(Generic[T]):
    """First ask for a `place`; what it is worth is only worked out where there is one."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._draw = random.Random(seed)
        self.offered = 0
        self.held: list[T] = []

    def place(self) -> int | None:
        self.offered += 1
        if self.offered <= self._size:
            return self.offered - 1
        place = int(self._draw.random() * self.offered)
        return place if place < self._size else None

    def put(self, place: int, item: T) -> None:
        if place == len(self.held):
            self.held.append(item)
        else:
            self.held[place] = item
