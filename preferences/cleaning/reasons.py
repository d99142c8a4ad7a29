"""Which rows of a file go, and why: asked for by name, found over one reading."""

from array import array
from collections.abc import Collection, Iterator
from typing import NamedTuple

from core.contract.finding import Place
from core.contract.preference import AnyRecord, parse_record
from preferences.checks.alike import LEAST, is_near
from preferences.checks.private import personal, secrets
from preferences.checks.seen import Seen, digest, look
from preferences.checks.similar import NearDuplicates
from preferences.faults import USELESS, RowFault
from preferences.judge import Judged
from preferences.rows import RawRow

# What `--drop` may name, and in words what goes.
DROPS = {
    "malformed": "rows that cannot be read as what the file is",
    "identical": "records whose answers are the same",
    "empty": "records with an empty answer",
    "ties": "records of which neither answer is better",
    "near_identical_pair": "records whose answers hardly differ",
    "secrets": "records that hold a key of a known shape",
    "personal_data": "records with an e-mail address, a telephone, card or bank account number",
    "duplicates": "records that an earlier one repeats exactly; the first stays",
    "near_duplicates": "records that an earlier one nearly repeats; the first stays",
    "contradictions": "records that prefer b to a where another prefers a to b, for the same prompt, or that label an "
    "answer otherwise than another does",
}
# Of the lines that the caller lists, from a job's report or by hand.
LISTED = "listed"
_OF_FAULT = {"chosen_equals_rejected": "identical", "completion_empty": "empty", "ranks_all_equal": "ties"}


class Reason(NamedTuple):
    """`name` of DROPS; `note`: what exactly."""

    name: str
    note: str


def key(raw: RawRow) -> int:
    """The row's line, or its place in an array."""
    return raw.line if raw.element is None else raw.element


class Reasons:
    """Fed with every row, those that are records in the order of the file; then `of` says why which goes, by key."""

    def __init__(self, drop: Collection[str], lines: Collection[int] = ()) -> None:
        self._drop = frozenset(drop)
        self._listed = frozenset(lines)
        self.not_there = set(lines)
        self._faults: dict[int, Reason] = {}
        self._in_array = False
        self._seen: dict[int, int] = {}
        self._repeats: dict[int, list[int]] = {}
        # Rows of more than one record: how many.
        self._several: dict[int, int] = {}
        self._near = NearDuplicates()
        self._of_near = array("Q")
        # For each comparison: which two answers of which prompt, in which direction, and the row. A single answer is
        # compared with none, its label is the direction.
        self._sides = array("Q"), array("B"), array("Q")
        self._labelled = False
        self.rows = 0

    def see(self, raw: RawRow, found: RowFault | list[Judged]) -> None:
        number = key(raw)
        self.rows += 1
        self._in_array |= raw.element is not None
        if number in self._listed:
            self.not_there.discard(number)
            self._faults.setdefault(number, Reason(LISTED, "among the lines that were named"))
        if isinstance(found, RowFault):
            name = _OF_FAULT[found.code] if found.code in USELESS else "malformed"
            self._fault(number, name, f"{found.code}: {found.message}")
            return
        if len(found) > 1:
            self._several[number] = len(found)
        for judged in found:
            if judged.useless:
                self._fault(number, _OF_FAULT[judged.useless.code], judged.useless.message)
            elif judged.line:
                self._record(number, parse_record.validate_json(judged.line))

    def _fault(self, number: int, name: str, note: str) -> None:
        if name in self._drop:
            self._faults.setdefault(number, Reason(name, note))

    def _record(self, number: int, record: AnyRecord) -> None:
        if record.kind == "tie":
            self._fault(number, "ties", "Neither answer is better.")
        seen = look(record, number)
        self._looked(number, seen)
        if "near_duplicates" in self._drop:
            self._near.see(seen)
            self._of_near.append(number)
        if "duplicates" in self._drop:
            whole = digest("\0".join([seen.prompt, *seen.answers, str(seen.ranks), str(seen.label)]))
            first = self._seen.setdefault(whole, number)
            if first != number:
                self._repeats.setdefault(number, []).append(first)
        if "contradictions" in self._drop:
            self._compare(number, seen)

    def _looked(self, number: int, seen: Seen) -> None:
        """What one record shows by itself."""
        texts = (seen.prompt, *seen.answers)
        for name, find in (("secrets", secrets), ("personal_data", personal)):
            if name in self._drop and (found := next((each for text in texts for each in find(text)), None)):
                self._fault(number, name, f"{found[0]}: {found[1]}")
        if "near_identical_pair" in self._drop and is_near(seen):
            self._fault(number, "near_identical_pair", f"At least {LEAST:.0%} of the characters are the same.")

    def _compare(self, number: int, seen: Seen) -> None:
        answers = [digest(each) for each in seen.answers]
        if seen.label is not None:
            self._labelled = True
            self._side(f"{digest(seen.prompt)} {answers[0]}", 1 if seen.label else 2, number)
        for better, worse in seen.comparisons():
            low, high = sorted((answers[better], answers[worse]))
            self._side(f"{digest(seen.prompt)} {low} {high}", 1 if answers[better] == low else 2, number)

    def _side(self, compared: str, direction: int, number: int) -> None:
        pairs, directions, rows = self._sides
        pairs.append(digest(compared))
        directions.append(direction)
        rows.append(number)

    def of(self) -> dict[int, Reason]:
        """By the row's key; a row goes for one reason, repeats before contradictions."""
        going = dict(self._faults)
        for number, first in self._whole(self._repeats):
            going.setdefault(number, Reason("duplicates", f"the same as {self._place(first)}"))
        near: dict[int, list[int]] = {}
        for place, earlier in enumerate(self._near.earlier().tolist() if self._of_near else []):
            if earlier >= 0:
                near.setdefault(self._of_near[place], []).append(self._of_near[earlier])
        for number, other in self._whole(near):
            going.setdefault(number, Reason("near_duplicates", f"nearly {self._place(other)}"))
        for number, other in self._contradictions(going):
            says = "gives it the other label" if self._labelled else "prefers the other answer"
            note = f"{self._place(other)} {says}"
            going.setdefault(number, Reason("contradictions", note))
        return going

    def _whole(self, repeats: dict[int, list[int]]) -> Iterator[tuple[int, int]]:
        """Rows of which every record is a repeat, and a row that it repeats."""
        return ((number, of[0]) for number, of in repeats.items() if len(of) == self._several.get(number, 1))

    def _place(self, number: int) -> str:
        return Place(None, number, number if self._in_array else None).told

    def _contradictions(self, gone: Collection[int]) -> Iterator[tuple[int, int]]:
        """Row, and one that says the opposite; of rows that do not go anyway."""
        one_of: dict[int, list[int | None]] = {}
        sides = [each for each in zip(*self._sides, strict=True) if each[2] not in gone]
        for pair, direction, number in sides:
            kept = one_of.setdefault(pair, [None, None])
            if kept[direction - 1] is None:
                kept[direction - 1] = number
        for pair, direction, number in sides:
            if (other := one_of[pair][2 - direction]) is not None:
                yield number, other
