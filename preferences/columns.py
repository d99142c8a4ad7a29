"""The numbers that may stand beside the answers: `weight`, `confidence`, `margin`."""

from typing import Any, NamedTuple

from core.contract.preference import Kind
from preferences.faults import RowFault


class _Column(NamedTuple):
    default: float
    least: float
    most: float


# A weight or margin beyond a million is a slip, and 1e39 would be infinite in 32 bits.
COLUMNS = {"weight": _Column(1.0, 0.0, 1e6), "confidence": _Column(1.0, 0.5, 1.0), "margin": _Column(0.0, 0.0, 1e6)}
OF_KIND: dict[Kind, tuple[str, ...]] = {
    "pair": ("weight", "confidence", "margin"),
    "unpaired": ("weight",),
    "ranking": ("weight",),
}


def take(extra: dict[str, Any], kind: Kind) -> dict[str, float]:
    """Moves those that the kind has from the row's further keys; null is as good as absent."""
    found: dict[str, float] = {}
    if extra:
        for name in OF_KIND[kind]:
            if (value := extra.pop(name, None)) is not None:
                found[name] = _number(value, name)
    return found


def matters(name: str, value: float) -> bool:
    """Whether it changes what is learned: a loss that does not know the column would get the data wrong."""
    return value != COLUMNS[name].default


def _number(value: Any, name: str) -> float:
    column = COLUMNS[name]
    if type(value) not in (int, float) or not column.least <= value <= column.most:
        raise RowFault(
            f"{name}_invalid", name, f"`{name}` is not a number from {column.least:g} to {column.most:,.0f}."
        )
    return float(value)
