"""How long prompts and answers are, in characters: exactly, one count for each length that occurs."""

import math
from collections import Counter

from core.contract.preference import Message
from preferences.checks.seen import Seen
from preferences.report import Spread

# Of a histogram: steps of 1/16 of a power of two.
FINE = 5


class Lengths:
    """Of pairs chosen and rejected; of a ranking its best answers are `chosen`; single ones are wanted or not."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {}

    def see(self, seen: Seen) -> None:
        record = seen.record
        self._add("prompt", record.prompt)
        if record.kind == "unpaired":
            self._add("wanted" if record.label else "not wanted", record.completion)
        elif record.kind == "ranking":
            best = min(record.ranks)
            for rank, answer in zip(record.ranks, record.completions, strict=True):
                self._add("chosen" if rank == best else "rejected", answer)
        else:
            self._add("chosen", record.chosen)
            self._add("rejected", record.rejected)

    def _add(self, name: str, turns: list[Message]) -> None:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = Counter()
        counts[sum(len(turn.content or "") for turn in turns)] += 1

    def spreads(self) -> dict[str, Spread]:
        return {name: spread(counts) for name, counts in self._counts.items()}

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Of the answers: (upper bound, how many), those that are none left out."""
        found = {}
        for name, counts in self._counts.items():
            if name != "prompt":
                bins: Counter[int] = Counter()
                for length, count in counts.items():
                    bins[bound(length)] += count
                found[name] = sorted(bins.items())
        return found


def spread(counts: Counter[int]) -> Spread:
    ordered = sorted(counts.items())
    total = counts.total()
    return Spread(median=at(ordered, total * 0.5), p95=at(ordered, total * 0.95), max=ordered[-1][0])


def at(ordered: list[tuple[int, int]], wanted: float) -> int:
    """By nearest rank: the first length that so many do not exceed."""
    passed = 0
    for length, count in ordered:
        passed += count
        if passed >= math.ceil(wanted):
            return length
    return ordered[-1][0]


def bound(length: int) -> int:
    width = max(1, 1 << max(0, length.bit_length() - FINE))
    return -(-length // width) * width
