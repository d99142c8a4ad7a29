"""Pairs whose two answers hardly differ."""

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.edits import nearly
from preferences.checks.seen import Seen

LEAST = 0.95


def is_near(seen: Seen) -> bool:
    """Of a ranking: any two answers of which one is better."""
    return any(nearly(seen.answers[one], seen.answers[other], LEAST) for one, other in seen.comparisons())


class NearIdentical:
    def __init__(self) -> None:
        self._records = self._count = 0
        self._examples: list[tuple[Place, str]] = []

    def see(self, seen: Seen) -> None:
        if not seen.comparisons():
            return
        self._records += 1
        if is_near(seen):
            self._count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append((seen.place, f"at least {LEAST:.0%} of the characters are the same"))

    def findings(self) -> list[Finding]:
        if not self._records:
            return []
        share = self._count / self._records
        detail = {"of": self._records}
        return [
            finding(
                "near_identical_pair", share, count=self._count, share=share, examples=self._examples, detail=detail
            )
        ]
