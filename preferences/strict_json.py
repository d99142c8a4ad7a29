"""JSON as the standard has it: no doubled keys, no NaN, no lone surrogates, no NUL, no deep nesting."""

import json
import math
import re
from typing import Any

from preferences.faults import RowFault

_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
# A string that never ends runs to the end of the text: each character is looked at once, whatever is sent.
_TOKEN = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)|[\[\]{}:,]|-?(?:NaN|Infinity)|-?[0-9][0-9.eE+-]*+', re.DOTALL)
_DIGITS = 300


class _NotStrict(ValueError):
    """Raised inside the decoder, which does not say where it stands; `_locate` finds the place afterwards."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _NotStrict
    return made


def _constant(_: str) -> Any:
    raise _NotStrict


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotStrict
    return value


def _int(text: str) -> int:
    if len(text) > _DIGITS:
        raise _NotStrict
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int, strict=True
)


def parse(data: bytes, depth: int) -> Any:
    """The value; RowFault `utf8_invalid` or `json_invalid` with the offset in characters."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = len(data[: error.start].decode("utf-8"))
        raise RowFault("utf8_invalid", "", f"Byte 0x{data[error.start]:02x} is not UTF-8.", offset=before) from None
    if text.count("{") + text.count("[") > depth:
        _refuse_deep(text, depth)
    if _SUSPECT.search(text):
        _refuse_escapes(text)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise RowFault("json_invalid", "", f"{error.msg}.", offset=error.pos) from None
    except _NotStrict:
        raise _locate(text) from None


def _refuse_deep(text: str, limit: int) -> None:
    level = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("{", "["):
            level += 1
            if level > limit:
                raise RowFault("json_invalid", "", f"Nested more than {limit} levels deep.", offset=token.start())
        elif mark in ("}", "]"):
            level -= 1


def _refuse_escapes(text: str) -> None:
    """Refuses \\u0000 and surrogates without their other half; half a pair has no UTF-8."""
    high: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else -1
        low = 0xDC00 <= code < 0xE000
        if high and not (low and escape.start() == high.end()):
            break
        if low and not high:
            high = escape
            break
        high = escape if 0xD800 <= code < 0xDC00 else None
        if code == 0:
            raise RowFault("json_invalid", "", "A NUL character, \\u0000.", offset=escape.start())
    if high:
        raise RowFault("json_invalid", "", f"A lone surrogate, {high[0]}.", offset=high.start())


def _locate(text: str) -> RowFault:
    """The place of a doubled key or of a number that JSON does not have."""
    keys: list[set[str] | None] = []
    before = None
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == "{":
            keys.append(set())
        elif mark == "[":
            keys.append(None)
        elif mark in ("}", "]"):
            if keys:
                keys.pop()
        elif mark[0] == '"':
            names = keys[-1] if keys else None
            if names is not None and before in ("{", ","):
                key = _unescaped(mark)
                if key in names:
                    return RowFault("json_invalid", "", f'The key "{key[:60]}" is there twice.', offset=token.start())
                names.add(key)
        elif mark not in (",", ":") and not _finite(mark):
            return RowFault("json_invalid", "", f"{mark[:40]} is not a number that is read.", offset=token.start())
        before = mark
    return RowFault("json_invalid", "", "Not valid JSON.")


def _unescaped(mark: str) -> str:
    try:
        return str(json.loads(mark, strict=False))
    except ValueError:
        return mark


def _finite(mark: str) -> bool:
    if mark.lstrip("-").isdigit():
        return len(mark) <= _DIGITS
    try:
        return math.isfinite(float(mark))
    except ValueError:
        return True
