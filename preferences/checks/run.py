"""All checks over one reading of a file's records."""

from typing import Literal, Protocol

from core.contract.finding import Finding
from core.contract.preference import AnyRecord
from preferences.checks.advice import worst_first
from preferences.checks.alike import NearIdentical
from preferences.checks.annotators import Annotators
from preferences.checks.bias import Bias, Position
from preferences.checks.graph import Graph
from preferences.checks.languages import Languages
from preferences.checks.leakage import HeldOut
from preferences.checks.private import Private
from preferences.checks.scores import Scores
from preferences.checks.seen import Seen, look
from preferences.checks.shortcuts import Separable
from preferences.checks.similar import NearDuplicates
from preferences.checks.size import Balance, Size
from preferences.checks.slices import Slices
from preferences.checks.verifiable import Verifiable

# `quick` leaves out what looks at every word; `none` makes no report.
Depth = Literal["all", "quick", "none"]


class Check(Protocol):
    def see(self, seen: Seen) -> None: ...

    def findings(self) -> list[Finding]: ...


class Checks:
    """Fed with every usable record; some 100 bytes of each are kept, and samples of a fixed size.

    `held_out`: the prompts of a validation file, which should not be in this one.
    """

    def __init__(self, depth: Depth = "all", *, batch_size: int | None = None, held_out: HeldOut | None = None) -> None:
        self._size = Size(batch_size)
        self._held_out = held_out
        self._checks: list[Check] = []
        if depth != "none":
            self._checks = [Graph(), Bias(), Position(), Balance(), Scores(), Annotators(), Slices(), Verifiable()]
        if depth == "all":
            self._checks += [NearDuplicates(), NearIdentical(), Separable(), Languages(), Private()]

    @property
    def wanted(self) -> bool:
        """Whether records have to be shown at all."""
        return bool(self._checks or self._held_out)

    def see(self, record: AnyRecord, row: int, element: int | None = None) -> None:
        """`row`: the same for all records of a row of the file, as in `Place`; `element` too."""
        if self._held_out:
            self._held_out.compare(record, element)
        if not self._checks:
            return
        seen = look(record, row, element)
        self._size.see(seen)
        for check in self._checks:
            check.see(seen)

    def findings(self) -> list[Finding]:
        """Worst first."""
        found = [each for check in self._checks for each in check.findings()]
        if self._held_out:
            found.append(self._held_out.finding())
        if self._size.usable:
            repeats = next((each.share for each in found if each.code == "exact_duplicates"), 0.0)
            found += self._size.findings(round(repeats * self._size.usable))
        return worst_first(found)
