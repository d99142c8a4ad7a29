"""By how much the chosen answer is better, where both answers carry a number."""

import math
from collections.abc import Iterable
from typing import Any

from preferences.draft import Draft

MOST = 1e6


def take(draft: Draft, names: Iterable[tuple[str, str]]) -> Draft:
    """The first pair of columns (chosen, rejected) that both hold numbers; their difference is the margin.

    Where the numbers contradict the choice there is no margin; the numbers stay in `meta`, where a check compares them.
    """
    extra = draft.extra
    if not extra:
        return draft
    for ours, theirs in names:
        if is_number(extra.get(ours)) and is_number(extra.get(theirs)):
            draft.scores |= {ours: extra.pop(ours), theirs: extra.pop(theirs)}
            better = draft.scores[ours] - draft.scores[theirs]
            if 0 <= better <= MOST:
                draft.margin, draft.margin_path = float(better), f"{ours} - {theirs}"
            break
    return draft


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
