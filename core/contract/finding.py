"""What one check says of the data: the same shape at upload, from an inspection and from a job's reference pass."""

from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, PrivateAttr

Severity = Literal["info", "warn", "block"]


class Place(NamedTuple):
    """Where a record stands. `row` tells the rows of a file apart, which may share a line: how many records of the
    canonical file come before those of this row; null of another file. `line` is what people are told, and in a JSON
    array, which may stand on one line, `element`: its place, from 0."""

    row: int | None
    line: int
    element: int | None = None

    @classmethod
    def unpacked(cls, row: int | None, mark: int) -> Self:
        element = (mark >> 32) - 1
        return cls(row, mark & 0xFFFFFFFF, None if element < 0 else element)

    @property
    def mark(self) -> int:
        """Line and element in 64 bits."""
        return (0 if self.element is None else self.element + 1) << 32 | self.line

    @property
    def number(self) -> str:
        return str(self.line) if self.element is None else f"[{self.element}]"

    @property
    def told(self) -> str:
        return f"{'line' if self.element is None else 'element'} {self.number}"


class Example(BaseModel):
    """`element`: the record's place in a JSON array, from 0; null in other files, whose lines are records."""

    line: int
    element: int | None = None
    note: str
    # That of the place, in the process that found it; it is told to nobody.
    _row: int | None = PrivateAttr(default=None)

    @classmethod
    def at(cls, place: int | Place, note: str) -> Self:
        if not isinstance(place, Place):
            return cls(line=place, note=note)
        made = cls(line=place.line, element=place.element, note=note)
        made._row = place.row
        return made

    @property
    def row(self) -> int | None:
        return self._row

    @property
    def place(self) -> Place:
        return Place(self._row, self.line, self.element)


class Finding(BaseModel):
    """What one check found. `code` is what a job's `palate.accept` names; `value` in `unit` beside its `threshold`.

    count, share: of the records that show it; `examples` at most 20; `action` is one sentence: what to do.
    """

    code: str
    title: str
    severity: Severity
    value: float | None = None
    unit: str = ""
    threshold: float | None = None
    count: int = 0
    share: float = 0.0
    examples: list[Example] = []
    action: str = ""
    detail: dict[str, Any] = {}
