"""What one check says of the data: the same shape at upload, from an inspection and from a job's reference pass."""

from typing import Any, Literal

from pydantic import BaseModel

Severity = Literal["info", "warn", "block"]


class Example(BaseModel):
    line: int
    note: str


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
