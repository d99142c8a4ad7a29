"""Where the fields of a record stand in a layout of its owner's: canonical field -> column, or path into it."""

import json
import re
from collections.abc import Mapping as Table
from collections.abc import Sequence
from typing import Any

from core.contract.errors import BadInput
from preferences.draft import Row
from preferences.faults import RowFault
from preferences.strict_json import parse

# A list of columns is allowed for those that hold several things.
LISTS = ("answers", "ranks", "ratings", "pairs")
MAIN = ("prompt", "system", "tools", "chosen", "rejected", "completion", "label", *LISTS)
BESIDE = ("weight", "confidence", "margin", "group", "source", "language", "split", "annotators", "id")
FIELDS = (*MAIN, *BESIDE)
MOST = 64
# Bytes of a column's name, or of a path to what it holds.
LONGEST = 1024
_PLACE = re.compile(r"\[(-?[0-9]{1,6})\]")
_END = re.compile(r"[.\[]")
_ABSENT = object()


class Mapping:
    """A checked mapping; `place` gives a row the canonical names, and `path` tells the owner's for an error."""

    def __init__(self, fields: dict[str, str | list[str]]) -> None:
        self.fields = fields
        self._columns = {each for value in fields.values() for each in (value if isinstance(value, list) else [value])}

    @property
    def main(self) -> frozenset[str]:
        return frozenset(self.fields) & frozenset(MAIN)

    @property
    def columns(self) -> dict[str, str]:
        """Top-level column -> the canonical field that it is read for."""
        return {
            each: name
            for name, value in self.fields.items()
            for each in (value if isinstance(value, list) else [value])
        }

    def place(self, row: Row) -> Row:
        """Columns that are named whole move; a value inside one is read, and its column stays for `meta`."""
        made: Row = {}
        for name, value in row.items():
            if name not in self._columns:
                made[f"unmapped.{name}" if name in self.fields else name] = value
        for name, path in self.fields.items():
            if isinstance(path, list):
                value = [_follow(row, each) for each in path]
                made[name] = [None if each is _ABSENT else each for each in value]
            elif (value := _follow(row, path)) is not _ABSENT:
                made[name] = value
        return made

    def path(self, path: str) -> str:
        """`chosen[0].role` as it stands in the file."""
        name, rest = re.match(r"([^.\[]*)(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
        theirs = self.fields.get(name)
        if theirs is None:
            return path
        if isinstance(theirs, list):
            place = re.match(r"\[([0-9]+)\](.*)", rest, re.DOTALL)
            if place and int(place[1]) < len(theirs):
                return theirs[int(place[1])] + place[2]
            return ", ".join(theirs)
        return theirs + rest

    def fault(self, fault: RowFault) -> RowFault:
        """The same in the owner's words."""
        theirs = self.path(fault.path)
        if theirs == fault.path:
            return fault
        message = fault.message.replace(f"`{fault.path}`", f"`{theirs}`")
        return RowFault(fault.code, theirs, message, offset=fault.offset)

    def told(self) -> dict[str, str]:
        return {name: value if isinstance(value, str) else ", ".join(value) for name, value in self.fields.items()}


def parse_mapping(value: Any) -> Mapping | None:
    """From an object or its JSON text; null and {} are none. Raises BadInput with param `mapping`."""
    if isinstance(value, str):
        try:
            value = parse(value.encode(errors="replace"), 4)
        except RowFault:
            raise _bad('`mapping` is not JSON; write {"prompt": "question", ...}.') from None
    if value is None or value == {}:
        return None
    if not isinstance(value, Table):
        raise _bad('`mapping` is an object: canonical field -> column, as {"prompt": "question", ...}.')
    fields: dict[str, str | list[str]] = {}
    for name, path in value.items():
        if name not in FIELDS:
            raise _bad(f"`{str(name)[:60]}` is not a field of a record; those are {', '.join(FIELDS)}.")
        several = isinstance(path, list)
        if several and (name not in LISTS or not 1 <= len(path) <= MOST):
            raise _bad(f"`{name}` is one column; {', '.join(LISTS)} may be a list of up to {MOST}.")
        for each in path if several else [path]:
            if not isinstance(each, str) or not each:
                raise _bad(f"`{name}` names no column: write the column's name, or a path as `messages[0].content`.")
            if (size := len(each.encode(errors="surrogatepass"))) > LONGEST:
                raise _bad(
                    f"`{name}` names a column of {size:,} bytes; at most {LONGEST:,} are taken: rename it in the file."
                )
        fields[name] = path
    return Mapping(fields)


def from_words(words: Sequence[str]) -> dict[str, Any] | str:
    """As on a command line: JSON, or `field=column` by field; several columns of a list are parted by commas."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return words[0]
    fields: dict[str, Any] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals:
            raise _bad(f"`{word[:60]}` is not field=column.")
        fields[name] = path.split(",") if name in LISTS and "," in path else path
    return fields


def words_of(fields: dict[str, str | list[str]]) -> list[str]:
    """What `from_words` reads as these; as JSON where a comma may stand in a name or between two."""
    if any(name in LISTS for name in fields):
        return [json.dumps(fields, ensure_ascii=False)]
    return [f"{name}={path}" for name, path in fields.items()]


def _follow(row: Row, path: str) -> Any:
    """The value at a path, null being as good as absent; of a name that has dots itself the longest counts."""
    value: Any = row
    rest = path
    while rest:
        if type(value) is dict:
            name = _name(value, rest)
            if name is None:
                return _ABSENT
            value = value[name]
            rest = rest[len(name) :]
            rest = rest.removeprefix(".")
        elif type(value) is list and (step := _PLACE.match(rest)) is not None:
            place = int(step[1])
            if not -len(value) <= place < len(value):
                return _ABSENT
            value = value[place]
            rest = rest[step.end() :].removeprefix(".")
        else:
            return _ABSENT
    return _ABSENT if value is None else value


def _name(value: dict[str, Any], rest: str) -> str | None:
    """The key that the path goes on with."""
    if rest in value:
        return rest
    end = _END.search(rest)
    first = rest[: end.start()] if end else rest
    if first in value:
        return first
    fits = [key for key in value if key and rest.startswith(key) and rest[len(key) : len(key) + 1] in (".", "[")]
    return max(fits, key=len, default=None)


def _bad(message: str) -> BadInput:
    return BadInput(message, param="mapping")
