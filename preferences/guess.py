"""A mapping that would do for an unknown layout, as far as its first row tells; null where it does not."""

import re
from typing import Any

from preferences.draft import Row

_PROMPTS = ("prompt", "question", "query", "instruction", "input", "context", "problem", "task", "user", "text")
_PAIRS = (
    ("chosen", "rejected"), ("preferred", "dispreferred"), ("preferred", "rejected"), ("better", "worse"),
    ("good", "bad"), ("positive", "negative"), ("pos", "neg"), ("winner", "loser"), ("win", "lose"),
    ("accepted", "rejected"), ("best", "worst"), ("correct", "incorrect"), ("right", "wrong"),
    ("matching", "not_matching"), ("preferred", "non_preferred"), ("helpful", "unhelpful"), ("safe", "unsafe"),
    ("aligned", "misaligned"), ("liked", "disliked"), ("yes", "no"),
)  # fmt: skip
_ANSWERS = ("completion", "response", "answer", "output", "generation")
_LABELS = ("label", "thumbs_up", "is_good", "desirable", "liked", "accepted")
_NUMBERED = re.compile(r"(.*?)[ _-]?([0-9]{1,2}|[a-dA-D])")


def guess(row: Row) -> dict[str, str | list[str]] | None:
    prompt = _prompt(row)
    if prompt is None:
        return None
    if both := _two_answers(row, prompt):
        return {"prompt": prompt, "chosen": both[0], "rejected": both[1]}
    if several := _numbered(row):
        wanted = len(several) * (len(several) - 1) // 2
        for name, value in row.items():
            if _numbers(value) and len(value) == wanted and set(value) <= {0, 1, 2}:
                return {"prompt": prompt, "answers": several, "pairs": name}
        for name, value in row.items():
            if _numbers(value) and len(value) == len(several):
                ranked = "rank" in name.lower()
                return {"prompt": prompt, "answers": several, "ranks" if ranked else "ratings": name}
    answer = next((name for name in _ANSWERS if _speaks(row.get(name))), None)
    label = next((name for name in _LABELS if type(row.get(name)) is bool), None)
    return {"prompt": prompt, "completion": answer, "label": label} if answer and label else None


def _prompt(row: Row) -> str | None:
    texts = [name for name, value in row.items() if _speaks(value)]
    exact = next((name for wanted in _PROMPTS for name in texts if name.lower() == wanted), None)
    return exact or next((name for wanted in _PROMPTS for name in texts if wanted in name.lower()), None)


def _two_answers(row: Row, prompt: str) -> tuple[str, str] | None:
    """Two columns whose names differ by a word for better and one for worse."""
    names = [name for name, value in row.items() if name != prompt and _speaks(value)]
    told = {_words(name): name for name in names}
    for better, worse in _PAIRS:
        for words, name in told.items():
            if f"_{better}_" not in words or f"_{worse}_" in words:
                continue
            other = told.get(words.replace(f"_{better}_", f"_{worse}_"))
            if other is not None:
                return name, other
    return None


def _words(name: str) -> str:
    return f"_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}_"


def _numbered(row: Row) -> list[str] | None:
    groups: dict[str, list[str]] = {}
    for name, value in row.items():
        if _speaks(value) and (found := _NUMBERED.fullmatch(name)):
            groups.setdefault(found[1], []).append(name)
    return next((names for names in groups.values() if 2 <= len(names) <= 64), None)


def _speaks(value: Any) -> bool:
    return type(value) is str or (type(value) is list and bool(value) and type(value[0]) is dict)


def _numbers(value: Any) -> bool:
    return type(value) is list and all(type(each) in (int, float) for each in value)
