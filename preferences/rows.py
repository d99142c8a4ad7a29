"""The bytes of one record with the place where they stand; JSON lines are cut here."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from preferences.faults import RowFault

EXCERPT_BYTES = 4096


class RawRow(NamedTuple):
    """Line and column count from 1; `element` the place in a JSON array; `data` is only a beginning when too long.

    `fault`: why the container could make no record of it.
    """

    line: int
    column: int
    element: int | None
    data: bytes
    too_long: bool
    fault: RowFault | None = None


def split_lines(chunks: Iterable[bytes], limit: int) -> Iterator[RawRow]:
    """One row a line that is not blank; of a line over `limit` bytes only the beginning is held."""
    line = 1
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        blank = 0
        if chunk.isspace() and (first := chunk.find(b"\n")) >= 0:
            # A file of nothing but line ends would otherwise cost a turn of this loop for each.
            blank = chunk.count(b"\n", first + 1)
            chunk = chunk[: first + 1] + chunk[chunk.rfind(b"\n") + 1 :]
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            if held:
                size += len(part)
                part = b"".join([*held, part])
                held = []
            else:
                size = len(part)
            row = _line(line, part, size, limit)
            if row:
                yield row
            line += 1
            size = 0
        line += blank
        if rest:
            held.append(rest)
            size += len(rest)
            if size > limit:
                held = [b"".join(held)[:EXCERPT_BYTES]]
    row = _line(line, b"".join(held), size, limit)
    if row:
        yield row


def _line(line: int, data: bytes, size: int, limit: int) -> RawRow | None:
    if size > limit:
        return RawRow(line, 1, None, data[:EXCERPT_BYTES], True)
    if not data or data.isspace():
        return None
    return RawRow(line, 1, None, data, False)
