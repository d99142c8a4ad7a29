"""Which format a file has, decided by its first rows."""

import json
from collections import Counter
from collections.abc import Iterable

from preferences.draft import Row
from preferences.faults import FileFault
from preferences.formats.known import BY_NAME, FORMATS, Format, supported
from preferences.guess import guess

AGREE = 0.95


def detect(sample: Iterable[tuple[int, Row]]) -> Format:
    """The format of most rows (line, row).

    Rows of a second format may make 5 % of them. Rows of no format do not count against the only one found while they
    are the minority: they are its damaged rows, and get their errors by line. Rows that could be of several formats
    are of none of them: a person has to say which.
    """
    votes: Counter[str | None] = Counter()
    first: dict[str | None, int] = {}
    unknown: Row = {}
    for line, row in sample:
        name = _format_of(row)
        votes[name] += 1
        first.setdefault(name, line)
        unknown = unknown or (row if name is None else {})
    total = sum(votes.values())
    known = [name for name, _ in votes.most_common() if name is not None]
    if not known or votes[None] * 2 > total:
        raise FileFault("format_unknown", f"{_seen(unknown, votes, total)} Formats that are read: {supported()}.")
    if votes[known[0]] < AGREE * (total - votes[None]):
        found = ", ".join(f"{name} ({votes[name]} of {total} rows, first on line {first[name]})" for name in known)
        raise FileFault(
            "format_mixed", f"The rows are of several formats: {found}. Split the file, or name the format."
        )
    if known[0] not in BY_NAME:
        raise FileFault(
            "format_mixed",
            f"The rows could be of several formats: {known[0]} (line {first[known[0]]}). "
            "Name the one that is meant with `format`.",
        )
    return BY_NAME[known[0]]


def _format_of(row: Row) -> str | None:
    """Its name; several joined by `or`."""
    return " or ".join(known.name for known in FORMATS if known.matches(row)) or None


def _seen(row: Row, votes: Counter[str | None], total: int) -> str:
    keys = ", ".join(f"`{key[:40]}`" for key in list(row)[:12]) or "none"
    told = f"{votes[None]} of the first {total} rows are of no format that is read; the keys of the first are {keys}."
    would_do = guess(row)
    if would_do is None:
        return f"{told} A `mapping` of canonical fields to columns makes any layout readable."
    return f"{told} This mapping may do: {json.dumps(would_do, ensure_ascii=False)}."
