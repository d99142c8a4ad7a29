"""What one check says of the data: the same shape at upload, from an inspection and from a job's reference pass."""

from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, PrivateAttr

Severity = Literal["info", "warn", "block"]


class Place(NamedTuple):
    """Where a record stands. `row` tells the rows of a file apart, which may share a line: how many records of the
    canonical file come before those of this row. `line` is what people are told."""

    row: int
    line: int


class Example(BaseModel):
    line: int
    note: str
    # That of the place, in the process that found it; it is told to nobody.
    _row: int | None = PrivateAttr(default=None)

    @classmethod
    def at(cls, place: int | Place, note: str) -> Self:
        if not isinstance(place, Place):
            return cls(line=place, note=note)
        made = cls(line=place.line, note=note)
        made._row = place.row
        return made

    @property
    def row(self) -> int | None:
        return self._row


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
