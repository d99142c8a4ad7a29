"""How long texts are, exactly, in memory that grows with the number of different lengths alone."""

from collections import Counter
from math import ceil

from preferences.report import Spread


class Lengths:
    def __init__(self) -> None:
        self._of: dict[str, Counter[int]] = {}

    def add(self, name: str, characters: int) -> None:
        self._of.setdefault(name, Counter())[characters] += 1

    def spreads(self) -> dict[str, Spread]:
        """Nearest rank: the smallest length with at least that share of the lengths at or below it."""
        return {
            name: Spread(median=_at(counts, 0.5), p95=_at(counts, 0.95), max=max(counts))
            for name, counts in self._of.items()
        }


def _at(counts: Counter[int], share: float) -> int:
    wanted, so_far = ceil(share * counts.total()), 0
    for length in sorted(counts):
        so_far += counts[length]
        if so_far >= wanted:
            return length
    return 0
