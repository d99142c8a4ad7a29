"""CSV and its relatives (`;`, tab): each record becomes the JSON object that a line of JSON lines would hold.

The first record names the columns; one without a name, as the index that pandas writes, is left out. Cells are texts,
but for columns whose names speak of a number, and for cells that hold messages or lists where the formats have such.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from preferences.faults import FileFault, RowFault
from preferences.rows import EXCERPT_BYTES, RawRow
from preferences.tally import printable

DELIMITERS = ",;\t"
NAME = 80
# Columns by which a table is known to be one of preference data, whatever its other rows look like.
_TELLING = re.compile(r"(?i)prompt|question|instruction|chosen|rejected|prefer|completion|response|messages|answer")
_NUMBER = re.compile(
    r"(?i)(?:^|[_-])(?:weight|confidence|margin|rank|rating|score|reward|preference|label|tag)s?"
    r"(?:[_-](?:chosen|rejected|strength))?$"
)
_STRUCTURED = re.compile(
    r"^(?:input|messages|conversations|contents|completions|context|answers|responses|ratings"
    r"|history|output|tools|pairs|ranks|annotators|annotations|meta|.*_messages|.*_output|individual_preference)$"
)
_MESSAGES = re.compile(r"^(?:prompt|chosen|rejected|completion)$")
# How Python shows a list of messages, or an object; where a text may stand, only the former is none.
_REPR_OF_MESSAGES = re.compile(r"\[\{'(?:role|content|from|value|answer)'|\{'(?:role|messages)'")
_REPR = re.compile(r"\[?\{'")
_MAYBE_TEXT = re.compile(r"^(?:prompt|chosen|rejected|completion|answers|input|output|context|meta)$")
# Where no text is an empty text, as in JSON; elsewhere an empty cell holds nothing.
_TEXTS = re.compile(
    r"^(?:prompt|question|instruction|completion|answers|response_?[12]|(?:chosen|rejected)(?:_response)?)$"
)
_FLAGS = {"true": True, "false": False}


def delimiter_of(head: bytes, whole: bool, mapped: Collection[str] = ()) -> str | None:
    """Which delimiter makes a table of a file that begins so; None when none does. `whole`: nothing follows `head`.

    `mapped`: columns that the owner names.
    """
    text = head.decode(errors="surrogateescape")
    lines = text.splitlines(keepends=True)
    if not whole and len(lines) > 1:
        lines.pop()  # cut off, perhaps
    return next((mark for mark in DELIMITERS if _is_table(_records(lines, mark), mapped)), None)


def _records(lines: list[str], delimiter: str) -> list[list[str]]:
    """Up to the first that cannot be read, which is told as a record's fault later."""
    found: list[list[str]] = []
    with suppress(csv.Error):
        found.extend(record for record in csv.reader(lines, delimiter=delimiter) if record)
    return found


def _is_table(records: list[list[str]], mapped: Collection[str]) -> bool:
    columns = [name.strip() for name in records[0]] if records else []
    names = list(filter(None, columns))
    if len(names) < 2 or not all(len(name) <= NAME for name in names):
        return False
    telling = sum(_TELLING.search(name) is not None for name in names) >= 2 or not set(mapped).isdisjoint(names)
    if doubled := next((name for name in names if names.count(name) > 1), None):
        if telling:
            told = (
                f"The table has {names.count(doubled)} columns named `{printable(doubled)}`: give each a name of its "
                "own in the first line."
            )
            raise FileFault("container_unknown", told)
        return False
    if telling:
        return True
    even = sum(len(record) == len(columns) for record in records[1:])
    return even >= 2 and even >= 0.9 * (len(records) - 1)


def read_csv(chunks: Iterable[bytes], delimiter: str, limit: int, mapped: Mapping[str, str]) -> Iterator[RawRow]:
    """One row a record, at the line where it begins. FileFault where a record does not end within `limit` bytes.

    `mapped`: column -> the field that it is read for, which says what its cells are.
    """
    csv.field_size_limit(limit)
    lines = _Lines(chunks, limit)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        line = lines.begin()
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            why = "a quote is opened in it and never closed" if "end of data" in str(error) else str(error)
            yield _faulty(line, [], RowFault("csv_invalid", "", f"The record cannot be read: {why}."))
            continue
        if not cells:
            continue
        if names is None:
            names = [name.strip() for name in cells]
            continue
        yield _row(line, names, cells, mapped)


def _row(line: int, names: list[str], cells: list[str], mapped: Mapping[str, str]) -> RawRow:
    if len(cells) != len(names):
        told = f"The record has {len(cells)} cells, the table {len(names)} columns."
        return _faulty(line, cells, RowFault("csv_invalid", "", told))
    row: dict[str, Any] = {}
    try:
        for column, cell in zip(names, cells, strict=True):
            field = mapped.get(column, column)
            if column and (cell or _TEXTS.match(field)):
                row[column] = _cell(column, field, cell)
        return RawRow(line, 1, None, json.dumps(row, ensure_ascii=False).encode(), False)
    except RowFault as fault:
        return _faulty(line, cells, fault)
    except UnicodeEncodeError:
        return _faulty(line, cells, RowFault("utf8_invalid", "", "The record holds bytes that are not UTF-8."))


def _faulty(line: int, cells: list[str], fault: RowFault) -> RawRow:
    shown = " | ".join(cell[:EXCERPT_BYTES] for cell in cells)[:EXCERPT_BYTES].encode(errors="replace")
    return RawRow(line, 1, None, shown, False, fault)


def _cell(column: str, name: str, text: str) -> Any:
    """A text unless the column is another; an answer that happens to look like JSON stays the text that it is. `name`:
    of the field that the column is read for."""
    if _NUMBER.search(name) or name in ("label", "kto_tag"):
        if (flag := _FLAGS.get(text.strip().lower())) is not None:
            return flag
        try:
            return json.loads(text, parse_constant=lambda _: text) if text.strip() else text
        except (ValueError, RecursionError):
            return text
    if text[:1] in "[{" and (structured := _STRUCTURED.match(name) is not None) | (_MESSAGES.match(name) is not None):
        try:
            twice: list[str] = []
            value = json.loads(text, object_pairs_hook=partial(_object, twice))
        except (ValueError, RecursionError):
            if (_REPR_OF_MESSAGES if _MAYBE_TEXT.match(name) else _REPR).match(text):
                told = f"`{column}` holds Python's repr, not JSON: write the column with json.dumps."
                raise RowFault("json_invalid", column, told) from None
            return text
        if not structured and not _are_messages(value):
            return text
        if twice:
            raise RowFault("json_invalid", column, f'The key "{twice[0][:60]}" is there twice in a cell of `{column}`.')
        return value
    return text


def _object(twice: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Adds to `twice` the keys of which one value would be lost."""
    made = dict(pairs)
    if len(made) != len(pairs):
        twice += [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    return made


def _are_messages(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return bool(several) and all(
        isinstance(each, dict) and (each.keys() >= {"role", "content"} or each.keys() >= {"from", "value"})
        for each in several
    )


class _Lines:
    """Text lines with their ends, counted; what is no UTF-8 comes through as lone surrogates."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._lines = _cut(chunks, limit)
        self._limit = limit
        self._read = 0
        self._began = 1
        self._size = 0

    def begin(self) -> int:
        """The number of the line where the next record begins."""
        self._began, self._size = self._read + 1, 0
        return self._began

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._read += 1
        self._size += len(line)
        if self._size > self._limit:
            raise FileFault(
                "line_too_long",
                f"The record that begins on line {self._began:,} has more than {self._limit:,} bytes; "
                "perhaps a quote is opened there and never closed.",
            )
        return line.decode(errors="surrogateescape")


def _cut(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield b"".join([*held, part, b"\n"])
            held, size = [], 0
        if rest and size <= limit:
            held.append(rest)
            size += len(rest)
    if held:
        yield b"".join(held)
