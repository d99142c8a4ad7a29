"""Answers that end in a result which a program can check: a number, a boxed formula, the letter of a choice."""

import re

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.seen import Seen

_RESULT = re.compile(
    r"\\boxed\{|^####\s*\S"
    r"|\b(?:final )?answer(?: is|:)\s*(?:\*\*)?\s*(?:\$?-?\d[\d,.]*|\(?[A-E]\)?)(?:\*\*)?\s*[.!]?\s*\Z",
    re.MULTILINE | re.IGNORECASE,
)
_BARE = re.compile(r"\s*(?:\$?-?\d[\d,.]*%?|\(?[A-E]\)?)[.]?\s*\Z")
_END = 300


class Verifiable:
    def __init__(self) -> None:
        self._records = self._count = 0
        self._examples: list[tuple[Place, str]] = []

    def see(self, seen: Seen) -> None:
        self._records += 1
        if all(map(checkable, seen.answers)):
            self._count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append((seen.place, "every answer ends in a result"))

    def findings(self) -> list[Finding]:
        if not self._records:
            return []
        share = self._count / self._records
        detail = {"of": self._records}
        return [
            finding("verifiable_answers", share, count=self._count, share=share, examples=self._examples, detail=detail)
        ]


def checkable(text: str) -> bool:
    end = text[-_END:]
    if len(text) <= _END and _BARE.match(text):
        return True
    return ("nswer" in end or "boxed" in end or "####" in end) and _RESULT.search(end) is not None
