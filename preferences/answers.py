"""What can be said of answers without understanding them: how long, empty, the same."""

import json
import unicodedata
from collections.abc import Sequence

from preferences.draft import Turn

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def spoken(answer: list[Turn]) -> int:
    """Characters."""
    if len(answer) == 1:
        return len(answer[0].get("content") or "")
    return sum(len(turn.get("content") or "") for turn in answer)


def is_empty(answer: list[Turn]) -> bool:
    """The last assistant turn says nothing and calls nothing."""
    return not answer or not ((answer[-1].get("content") or "").strip() or "tool_calls" in answer[-1])


def repeated(answers: Sequence[list[Turn]]) -> tuple[int, int] | None:
    """Two of them that a reader cannot tell apart."""
    if len(answers) == 2:
        ours, theirs = answers
        same = ours == theirs or (len(ours) == len(theirs) and all(map(_alike, ours, theirs)))
        return (0, 1) if same else None
    seen: dict[str, int] = {}
    for number, answer in enumerate(answers):
        first = seen.setdefault(encode(list(map(_folded, answer))), number)
        if first != number:
            return first, number
    return None


def _alike(ours: Turn, theirs: Turn) -> bool:
    one, other = ours.get("content") or "", theirs.get("content") or ""
    if one.isascii() and other.isascii() and one.split(None, 1)[:1] != other.split(None, 1)[:1]:
        return False
    return _folded(ours) == _folded(theirs)


def _folded(turn: Turn) -> Turn:
    """White space and Unicode's several spellings of a letter make no difference to a reader."""
    content = " ".join((turn.get("content") or "").split())
    return {**turn, "content": content if content.isascii() else unicodedata.normalize("NFC", content)}
