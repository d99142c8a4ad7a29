"""Ties, margins, and whether the scores that a record carries agree with its choice."""

from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding, unseen
from preferences.checks.sample import Sample
from preferences.checks.seen import Seen

_SCORE = ("score", "rating", "reward")
SAMPLE = 10_000
# A margin below this share of the median one is weak.
WEAK = 0.1


class Scores:
    def __init__(self) -> None:
        self._records = self._tied = self._ties = self._comparisons = self._rankings = self._full = 0
        self._scored = self._against = self._margins = self._no_margin = 0
        self._examples: list[tuple[Place, str]] = []
        self._sample: Sample[float] = Sample(SAMPLE)

    def see(self, seen: Seen) -> None:
        if seen.label is not None:
            return
        self._records += 1
        record = seen.record
        compared = len(seen.comparisons())
        tied = len(seen.ranks) - len(set(seen.ranks))
        self._comparisons += compared
        self._ties += tied > 0
        if record.kind == "ranking":
            self._rankings += 1
            self._full += tied == 0 and len(seen.ranks) > 2
            return
        if record.kind == "pair" and record.margin is not None:
            self._margins += 1
            self._no_margin += record.margin == 0
            if (place := self._sample.place()) is not None:
                self._sample.put(place, record.margin)
        if record.kind == "pair" and record.meta and (scores := _scores(record.meta)):
            ours, theirs = scores
            self._scored += 1
            if ours < theirs:
                self._against += 1
                if len(self._examples) < EXAMPLES:
                    self._examples.append((seen.place, f"chosen has {ours:g}, rejected {theirs:g}"))

    def findings(self) -> list[Finding]:
        if not self._records:
            return []
        detail: dict[str, Any] = {"ties": round(self._ties / self._records, 4), "of": self._records}
        if self._rankings:
            detail["full_orders"] = round(self._full / self._rankings, 4)
        if self._margins:
            margins = sorted(self._sample.held)
            median = margins[len(margins) // 2]
            weak = sum(each < WEAK * median or each == 0 for each in margins) / len(margins)
            detail |= {"median_margin": median, "weak": round(weak, 4)}
        if self._scored:
            share = self._against / self._scored
            detail["scored"] = self._scored
            return [
                finding(
                    "ties_and_weak_margins",
                    share,
                    count=self._against,
                    share=share,
                    examples=self._examples,
                    detail=detail,
                )
            ]
        if self._ties or self._margins or self._rankings:
            return [unseen("ties_and_weak_margins", "No record has a score for each of its answers.", detail)]
        return []


def _scores(meta: dict[str, Any]) -> tuple[float, float] | None:
    """Two numbers whose names differ in `chosen` and `rejected` alone and speak of a score."""
    for name, ours in meta.items():
        if "chosen" in name and type(ours) in (int, float) and any(word in name for word in _SCORE):
            theirs = meta.get(name.replace("chosen", "rejected"))
            if isinstance(theirs, int | float) and not isinstance(theirs, bool):
                return ours, theirs
    return None
