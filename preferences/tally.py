"""Counts, errors and warnings while rows stream by, and the verdict on the whole."""

from collections import Counter

from preferences.draft import Draft
from preferences.faults import HINTS, USELESS, RowFault
from preferences.limits import Limits
from preferences.pair import Pair
from preferences.report import Counts, FileError, LineError, Notice
from preferences.rows import RawRow

_WARNED = {
    "system_in_middle": "A system or developer message stands after the first turn of the prompt.",
    "prompt_repeated_in_completion": "Both answers begin with the prompt's text; the model would learn to repeat it.",
    "extra_fields": "Fields that training does not use were kept in `meta`",
}


class Tally:
    def __init__(self, limits: Limits) -> None:
        self.counts = Counts()
        self.errors: list[LineError] = []
        self.by_code: Counter[str] = Counter()
        self._limits = limits
        self._warned: dict[str, Notice] = {}
        self._extra: dict[str, None] = {}

    def saw(self, raw: RawRow) -> None:
        self.counts.records += 1
        self.counts.lines = raw.line

    def refuse(self, raw: RawRow, fault: RowFault) -> None:
        self.by_code[fault.code] += 1
        if fault.code not in USELESS:
            self.counts.bad += 1
        if len(self.errors) < self._limits.errors:
            self.errors.append(_line_error(raw, fault, self._limits.excerpt))

    def in_order(self) -> None:
        """By line: of the rows that the format is detected from, those that are no JSON were refused first."""
        self.errors.sort(key=lambda error: error.line)

    def take(self, raw: RawRow, pair: Pair, draft: Draft) -> None:
        counts = self.counts
        counts.pairs += 1
        counts.identical_pairs += pair.identical
        counts.empty_chosen += pair.empty_chosen
        counts.empty_rejected += pair.empty_rejected
        counts.chosen_longer += pair.longer > 0
        counts.same_length += pair.longer == 0
        counts.multi_turn += pair.multi_turn
        if pair.useless:
            counts.useless += 1
            self.refuse(raw, pair.useless)
            return
        counts.usable += 1
        for code in pair.warnings:
            self._warn(code, raw.line)
            if code == "extra_fields" and len(self._extra) < 20:
                self._extra.update(dict.fromkeys(key[:60] for key in draft.extra))

    def _warn(self, code: str, line: int) -> None:
        warning = self._warned.setdefault(code, Notice(code=code, message=_WARNED[code], count=0, lines=[]))
        warning.count += 1
        if len(warning.lines) < self._limits.example_lines:
            warning.lines.append(line)

    def warnings(self) -> list[Notice]:
        if extra := self._warned.get("extra_fields"):
            extra.message = f"{_WARNED['extra_fields']}: {', '.join(list(self._extra)[:20])}."
        found = list(self._warned.values())
        if self._limits.min_pairs <= self.counts.usable < self._limits.few_pairs:
            message = f"{self.counts.usable} pairs are few; below {self._limits.few_pairs} little is learned."
            found.append(Notice(code="few_pairs", message=message, count=self.counts.usable))
        return found

    def verdict(self, allowed_bad: float) -> FileError | None:
        """The rules over the whole file; `allowed_bad` is the share of malformed rows that may be skipped."""
        counts, limits = self.counts, self._limits
        if not counts.records:
            return FileError(code="file_empty", message="The file holds no record.")
        if counts.bad > allowed_bad * counts.records:
            first = next((error for error in self.errors if error.code not in USELESS), None)
            where = f", the first on line {first.line} ({first.code})" if first else ""
            return FileError(
                code="too_many_bad_lines",
                message=f"{counts.bad:,} of {counts.records:,} records cannot be read{where}; "
                f"{allowed_bad:.2%} may be skipped. "
                "Correct them, or set on_error to skip with a higher max_bad_fraction.",
            )
        if counts.usable < limits.min_pairs:
            return FileError(
                code="too_few_pairs",
                message=f"{_amount(counts.usable, 'usable pair')}; at least {limits.min_pairs} are needed.",
            )
        if counts.useless > limits.useless_fraction * counts.pairs:
            return FileError(
                code="too_many_bad_lines",
                message=f"{counts.useless:,} of {counts.pairs:,} pairs have an empty answer or two equal ones; "
                f"more than {limits.useless_fraction:.0%} is a sign of a mistake in making the file.",
            )
        return None

    def details(self) -> str:
        """One sentence on what was taken and what was left out."""
        left = ", ".join(f"{count:,} {code}" for code, count in sorted(self.by_code.items()))
        taken = f"{_amount(self.counts.usable, 'pair')} taken"
        return f"{taken}; left out: {left}." if left else f"{taken}."


def _amount(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _line_error(raw: RawRow, fault: RowFault, width: int) -> LineError:
    line, column, start = raw.line, None, 0
    if fault.offset is not None:
        before = raw.data.decode(errors="replace")[: fault.offset]
        line += before.count("\n")
        column = len(before) - before.rfind("\n") if "\n" in before else raw.column + len(before)
        start = max(0, fault.offset - width // 2)
    path = fault.path if raw.element is None else f"[{raw.element}]" + (f".{fault.path}" if fault.path else "")
    return LineError(
        line=line,
        column=column,
        path=path[:200],
        code=fault.code,
        message=printable(fault.message),
        hint=HINTS[fault.code],
        excerpt=_excerpt(raw.data, start, width),
    )


def _excerpt(data: bytes, start: int, width: int) -> str:
    # Four bytes are the most that a character takes, so this much holds the piece without decoding a whole long row.
    text = data[: (start + width) * 4].decode(errors="replace")
    return printable(text[start : start + width].strip())


def printable(text: str) -> str:
    """Without control characters: a terminal must not obey what a file says."""
    return "".join(character if character.isprintable() else " " for character in text)
