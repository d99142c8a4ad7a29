"""A row as its format reads it, before the rules of a pair are applied."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Turn = dict[str, Any]


@dataclass(slots=True)
class Draft:
    """`paths` name prompt, chosen and rejected as the user's file does; `extra` becomes `meta`."""

    prompt: list[Turn]
    chosen: list[Turn]
    rejected: list[Turn]
    paths: tuple[str, str, str]
    tools: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def remaining(row: Row, used: frozenset[str]) -> dict[str, Any]:
    """The keys that the format does not know."""
    return {key: value for key, value in row.items() if key not in used} if row.keys() - used else {}
