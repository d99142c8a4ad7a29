"""The header Range, of one range of bytes."""

import re
from typing import NamedTuple

from core.contract.errors import BadInput

ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Unsatisfiable(BadInput):
    """The range begins behind the end."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The range lies outside of the {size} bytes that there are.", param="Range")
        self.size = size


class Range(NamedTuple):
    """Inclusive offsets."""

    first: int
    last: int


def requested(header: str | None, size: int) -> Range | None:
    """None for the whole: no header, or one of a kind that may be ignored (RFC 9110, 14.2)."""
    match = ONE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        if int(last) == 0 or size == 0:
            raise Unsatisfiable(size)
        return Range(max(0, size - int(last)), size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable(size)
    return Range(int(first), min(int(last) if last else size - 1, size - 1))
