"""A row as its format reads it, before the rules of its kind are applied."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Turn = dict[str, Any]
# A turn's mark until the rules are applied: it asks to be left out of the loss.
LEFT_OUT = "left_out"


@dataclass(slots=True)
class Draft:
    """`paths` name the prompt and each answer as the user's file does; `extra` becomes `meta`.

    A pair has two answers, the chosen one first, or `tie` says that neither is better; a single one has a `label`,
    which `label_path` names; those of a ranking have `ranks`, which `ranks_path` names. `margin`, `annotators` and
    `scores` (which go to `meta`, too): what the format itself tells. `characters` of the prompt as the file has it,
    where that is not what its turns hold. `part` keeps the ids of several records of a row apart. `raw_text`: the texts
    of the turns are trained on as they stand.
    """

    prompt: list[Turn]
    answers: Sequence[list[Turn]]
    paths: tuple[str, ...]
    tools: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    label: bool = True
    label_path: str = ""
    ranks: list[int] = field(default_factory=list)
    ranks_path: str = ""
    part: str = ""
    characters: int | None = None
    tie: bool = False
    margin: float | None = None
    margin_path: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    annotators: list[dict[str, Any]] | None = None
    raw_text: bool = False


def remaining(row: Row, used: frozenset[str]) -> dict[str, Any]:
    """The keys that the format does not know."""
    return {key: value for key, value in row.items() if key not in used} if row.keys() - used else {}


def unknown(extra: dict[str, Any]) -> list[str]:
    """The fields that no record has: all but `meta` itself, whose place this is."""
    return [name for name in extra if name != "meta"]
