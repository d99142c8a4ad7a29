"""NVIDIA's HelpSteer3 and the preferences of HelpSteer2: two responses and how much better the second is."""

import math
from typing import Any

from preferences.draft import Draft, Row, remaining
from preferences.faults import RowFault
from preferences.turns import read_answer, read_turns, wrong

NAME = "helpsteer3"
KEYS = (
    "`context` (or `prompt`), `response1`, `response2` and `overall_preference`, -3 to 3, below 0 the first is better"
)
_RESPONSES = (("response1", "response2"), ("response_1", "response_2"))
_STRENGTHS = ("overall_preference", "preference_strength")
_JUDGED = "individual_preference"


def matches(row: Row) -> bool:
    return any(name in row for name in _STRENGTHS) and any(first in row for first, _ in _RESPONSES)


def read(row: Row) -> Draft:
    """The sign is the choice and the size the margin; 0 is a tie."""
    names = next((both for both in _RESPONSES if both[0] in row or both[1] in row), _RESPONSES[0])
    told = next((name for name in _STRENGTHS if name in row), _STRENGTHS[0])
    asked = "context" if row.get("context") is not None else "prompt"
    extra = remaining(row, frozenset({asked, *names, told, "tools", "id"}))
    value = row.get(asked)
    if type(value) is str:
        prompt = [{"role": "user", "content": value}]
    elif type(value) is list:
        prompt = read_turns(value, asked, extra)
    else:
        raise wrong(value, "context", "a text or a list of messages")
    strength = _strength(row.get(told), told)
    answers = [read_answer(row.get(name), name, extra) for name in names]
    better = 0 if strength <= 0 else 1
    draft = Draft(
        prompt,
        (answers[better], answers[1 - better]),
        (asked, names[better], names[1 - better]),
        row.get("tools"),
        extra,
        tie=strength == 0,
    )
    if strength:
        draft.scores["chosen_position"] = better + 1
        draft.margin, draft.margin_path = abs(strength), told
    if type(extra.get(_JUDGED)) is list:
        draft.annotators = _judgements(extra[_JUDGED], better)
        draft.scores[_JUDGED] = extra.pop(_JUDGED)
    return draft


def _strength(value: Any, path: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 3:
        if value is None:
            raise RowFault("field_missing", path, f"`{path}` is missing; it should be a number from -3 to 3.")
        raise RowFault("rank_invalid", path, f"`{path}` is not a number from -3 to 3.")
    return float(value)


def _judgements(value: list[Any], better: int) -> list[dict[str, Any]]:
    """Nobody is named there, so a judgement is called by its place."""
    found = []
    for number, each in enumerate(value):
        at = f"{_JUDGED}[{number}]"
        if type(each) is not dict:
            raise wrong(each, at, "an object with `score`")
        score = _strength(each.get("score"), f"{at}.score")
        choice = "tie" if score == 0 else "chosen" if (score > 0) == (better == 1) else "rejected"
        found.append({"id": at, "choice": choice, "strength": abs(score)})
    return found
