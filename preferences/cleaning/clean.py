"""A new file without some rows of another: what stays is as it was, what goes is recorded."""

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

from core.contract.errors import BadInput
from preferences.check import check_file
from preferences.cleaning.copying import copy
from preferences.cleaning.reasons import DROPS, Reason, Reasons
from preferences.limits import DEFAULT, Limits
from preferences.mapping import parse_mapping
from preferences.rows import RawRow


class Removed(BaseModel):
    """A row that went: its place in the source, why, and the row itself (the beginning of one that is too long)."""

    line: int
    element: int | None = None
    reason: str
    note: str
    row: str


class Cleaned(BaseModel):
    rows: int
    kept: int
    removed: dict[str, int]


def clean(
    source: Path,
    out: BinaryIO,
    drop: Collection[str],
    *,
    removed: Callable[[Removed], None],
    lines: Collection[int] = (),
    format: str | None = None,
    mapping: dict[str, Any] | str | None = None,
    raw_text: bool = False,
    limits: Limits = DEFAULT,
) -> Cleaned:
    """Reads `source` once to find what goes, and again to copy the rest into `out`. `lines` go whatever they hold.

    Raises BadInput for an unknown name in `drop`, for a line that is not there, and for a file of which no rows can be
    told, or none by their lines.
    """
    unknown = [name for name in drop if name not in DROPS]
    if unknown or not (drop or lines):
        told = "; ".join(f"{name} ({words})" for name, words in DROPS.items())
        wrong = f"`{unknown[0]}` is none of what can be dropped" if unknown else "Nothing is named to be dropped"
        raise BadInput(f"{wrong}. There are: {told}.", param="drop")
    reasons = Reasons(drop, lines)
    report = check_file(
        source,
        format=format,
        mapping=mapping,
        raw_text=raw_text,
        checks="none",
        limits=limits,
        observe=reasons.see,
    )
    if report.container is None or report.format is None:
        raise BadInput(
            report.error.message if report.error else "No rows were found.",
            code=report.error.code if report.error else "file_empty",
        )
    layout, _, packed = report.container.partition("+")
    if lines and layout == "json_array":
        raise BadInput("The elements of a JSON array have no lines of their own: make it JSON lines.", param="lines")
    if reasons.not_there:
        told = ", ".join(str(line) for line in sorted(reasons.not_there)[:5])
        raise BadInput(f"No record begins on line {told}: is the list that of another file?", param="lines")
    counts = Counter[str]()

    def tell(raw: RawRow, reason: Reason) -> None:
        counts[reason.name] += 1
        text = raw.data.decode(errors="replace")
        removed(Removed(line=raw.line, element=raw.element, reason=reason.name, note=reason.note, row=text))

    asked = parse_mapping(mapping)
    kept = copy(layout, packed, source, out, reasons.of(), tell, limits, asked.columns if asked else {})
    return Cleaned(rows=reasons.rows, kept=kept, removed=dict(counts))
