"""Elements of a JSON array, cut by structure alone while they stream past, so that each is parsed by itself."""

import re
from collections.abc import Iterable, Iterator

from preferences.faults import FileFault
from preferences.rows import EXCERPT_BYTES, RawRow

_BETWEEN = re.compile(rb'["\[\]{},]')
_WITHIN = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_CONTINUATION = bytes(range(0x80, 0xC0))
_QUOTE, _COMMA, _CLOSE = ord('"'), ord(","), ord("]")


def split_elements(chunks: Iterable[bytes], limit: int) -> Iterator[RawRow]:
    """One row an element; brackets only need to balance here, the parser judges what is between."""
    element = _Element(limit)
    depth = 0
    in_string = escaped = closed = False
    for chunk in chunks:
        start = pos = 0
        end = len(chunk)
        if depth == 0 and not closed:
            start = pos = _opening(chunk, element)
            depth = 1 if pos else 0
        while pos < end and depth:
            if escaped:
                escaped = False
                pos += 1
            elif in_string:
                pos = _after(_IN_STRING, chunk, pos)
                if pos < end:
                    in_string = chunk[pos] != _QUOTE
                    escaped = in_string
                    pos += 1
            elif found := (_WITHIN if depth > 1 else _BETWEEN).search(chunk, pos):
                pos = found.end()
                byte = chunk[pos - 1]
                if byte == _QUOTE:
                    in_string = True
                elif byte == _COMMA:
                    yield element.cut(chunk[start : pos - 1])
                    start = pos
                elif byte in b"[{":
                    depth += 1
                else:
                    depth -= 1
                    if depth == 0:
                        closed = _closing(byte, element)
                        last = element.cut(chunk[start : pos - 1])
                        start = pos
                        if last.data or last.too_long or last.element:
                            yield last
            else:
                pos = end
        if closed and chunk[start:].strip():
            raise FileFault(
                "container_damaged",
                f"More text follows where the array closes on line {element.line}; "
                "write one array, or one object a line without the array.",
            )
        if not closed:
            element.hold(chunk[start:])
    if not closed:
        raise FileFault(
            "container_damaged",
            f"The array is never closed; its element {element.index + 1}, near line {element.line}, has no end.",
        )


def _after(pattern: re.Pattern[bytes], chunk: bytes, pos: int) -> int:
    found = pattern.match(chunk, pos)
    return found.end() if found else pos


def _opening(chunk: bytes, element: "_Element") -> int:
    """The place after the opening bracket; 0 while only white space came."""
    pos = chunk.find(b"[") + 1
    element.skip(chunk[:pos] if pos else chunk)
    return pos


def _closing(byte: int, element: "_Element") -> bool:
    if byte != _CLOSE:
        raise FileFault(
            "container_damaged", f"A closing brace without an opening one, in the array near line {element.line}."
        )
    return True


class _Element:
    """The bytes of the element in work, and where the next one begins."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._begin = (1, 1)
        self.index = 0
        self.line = 1
        self._column = 1

    def hold(self, part: bytes) -> None:
        if self._size > self._limit:
            self.skip(part)
        elif part:
            self._held.append(part)
            self._size += len(part)
            if self._size > self._limit:
                whole = b"".join(self._held)
                self._begin = self._place(whole)
                self.skip(whole)
                self._held = [whole.lstrip()[:EXCERPT_BYTES]]

    def skip(self, part: bytes) -> None:
        """Counts lines and columns over bytes that belong to no coming element."""
        lines = part.count(b"\n")
        self.line += lines
        if lines:
            self._column = 1
            part = part[part.rfind(b"\n") + 1 :]
        self._column += len(part.translate(None, _CONTINUATION))

    def _place(self, whole: bytes) -> tuple[int, int]:
        before = self.line, self._column
        self.skip(whole[: len(whole) - len(whole.lstrip())])
        place = self.line, self._column
        self.line, self._column = before
        return place

    def cut(self, part: bytes) -> RawRow:
        """The element that ends with `part`; the separator after it is counted too."""
        self.hold(part)
        if self._size > self._limit:
            row = RawRow(*self._begin, self.index, self._held[0], True)
        else:
            whole = b"".join(self._held)
            row = RawRow(*self._place(whole), self.index, whole.strip(), False)
            self.skip(whole)
        self._column += 1
        self._held, self._size = [], 0
        self.index += 1
        return row
