"""How long texts are, exactly, in memory that grows with the number of different lengths alone."""

from collections import Counter
from math import ceil

from preferences.report import Spread

_HELD = 4096
# Of a histogram: steps of 1/16 of a power of two.
FINE = 5


class Lengths:
    def __init__(self) -> None:
        self._of: dict[str, Counter[int]] = {}
        self._held: dict[str, list[int]] = {}

    def add(self, name: str, characters: int) -> None:
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = []
        held.append(characters)
        if len(held) >= _HELD:
            self._count(name)

    def _count(self, name: str) -> None:
        self._of.setdefault(name, Counter()).update(self._held[name])
        self._held[name] = []

    def _counted(self) -> dict[str, Counter[int]]:
        for name in self._held:
            self._count(name)
        return self._of

    def spreads(self) -> dict[str, Spread]:
        """Nearest rank: the smallest length with at least that share of the lengths at or below it."""
        return {
            name: Spread(median=_at(counts, 0.5), p95=_at(counts, 0.95), max=max(counts))
            for name, counts in self._counted().items()
        }

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Of the answers: (upper bound, how many) in steps of 1/16 of a power of two, empty ones left out."""
        found = {}
        for name, counts in self._counted().items():
            if name != "prompt":
                bins: Counter[int] = Counter()
                for length, count in counts.items():
                    bins[bound(length)] += count
                found[name] = sorted(bins.items())
        return found


def bound(length: int) -> int:
    width = max(1, 1 << max(0, length.bit_length() - FINE))
    return -(-length // width) * width


def _at(counts: Counter[int], share: float) -> int:
    wanted, so_far = ceil(share * counts.total()), 0
    for length in sorted(counts):
        so_far += counts[length]
        if so_far >= wanted:
            return length
    return 0
