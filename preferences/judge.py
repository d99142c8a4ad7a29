"""The verdict on one row, the same for every format: a canonical record, or why nothing can be learned from it."""

import hashlib
from collections import Counter
from typing import Any, NamedTuple

from pydantic_core import to_json

from core.contract.preference import Kind
from preferences import about, columns
from preferences.answers import is_empty, repeated, spoken
from preferences.canonical import line_of
from preferences.checks.surface import BEGINNING, refuses
from preferences.draft import Draft, Row, unknown
from preferences.faults import RowFault
from preferences.repeats import Print, print_of
from preferences.rules import keep_to_rules

# A tie has none of them: neither answer is better by anything.
_OF_PAIRS = ("confidence", "margin")
# Whoever declines speaks of themselves.
_SPEAKER = ("I ", "I'", "I\u2019", "s a", "S A", " i ", " i'", " i\u2019")
_PREFIX: dict[Kind, str] = {"pair": "pair", "unpaired": "answer", "ranking": "ranking"}


class Judged(NamedTuple):
    """`line` is the canonical record; `useless` says why nothing can be learned: counted and not written.

    `figures` add to the counts; `lengths`: characters of the answers; `beside`: what stands beside them, by field.
    """

    line: bytes | None
    useless: RowFault | None
    warnings: list[str]
    figures: dict[str, int]
    lengths: list[int]
    columns: dict[str, float]
    beside: dict[str, Any]
    seen: Print


def judge(draft: Draft, kind: Kind, row: Row, line: int, name: str) -> Judged:
    """Raises RowFault where the row is malformed."""
    warnings = list(draft.warnings)
    keep_to_rules(draft, warnings)
    numbers = columns.take(draft.extra, kind)
    beside = about.take(draft.extra) if draft.extra else {}
    if draft.margin is not None:
        numbers.setdefault("margin", draft.margin)
    if draft.annotators:
        beside.setdefault("annotators", draft.annotators)
    if draft.extra and unknown(draft.extra):
        warnings.append("extra_fields")
    if draft.tie:
        draft.extra.update({each: numbers.pop(each) for each in _OF_PAIRS if each in numbers})
    lengths = [spoken(answer) for answer in draft.answers]
    empty = [is_empty(answer) for answer in draft.answers]
    same = repeated(draft.answers)
    figures = _figures(draft, kind, empty, same, lengths)
    useless = _useless(draft, kind, empty, same)
    prompt, answers = to_json(draft.prompt), [to_json(answer) for answer in draft.answers]
    seen = print_of(prompt, answers, _told(draft, kind))
    identity = _given(row, draft.part) or _identity(draft, kind, prompt, answers)
    if useless:
        return Judged(None, useless, warnings, figures, lengths, numbers, beside, seen)
    if figures.get("ties"):
        warnings.append("tie_dropped")
    if kind == "pair" and not draft.tie and _refuses(draft):
        warnings.append("refusal_chosen")
    record = line_of(draft, kind, numbers | beside, identity, line, name, prompt, answers)
    return Judged(record, None, warnings, figures, lengths, numbers, beside, seen)


def _identity(draft: Draft, kind: Kind, prompt: bytes, answers: list[bytes]) -> str:
    told = [prompt, *answers]
    if kind != "pair" or draft.tie:
        told.append(to_json({"pair": "tie", "unpaired": draft.label, "ranking": draft.ranks}[kind]))
    return f"{_PREFIX[kind]}-{hashlib.sha256(b'[%b]' % b','.join(told)).hexdigest()[:24]}"


def _told(draft: Draft, kind: Kind) -> int | str:
    if kind == "pair":
        return "tie" if draft.tie else 0
    return int(draft.label) if kind == "unpaired" else str(draft.ranks)


def _refuses(draft: Draft) -> bool:
    """The chosen answer declines, and the rejected one does not."""
    start = (draft.answers[0][-1].get("content") or "")[:BEGINNING]
    if not any(map(start.__contains__, _SPEAKER)) and not start.startswith(("i ", "i'", "i\u2019")):
        return False
    return refuses(start) and not refuses(draft.answers[1][-1].get("content") or "")


def _figures(
    draft: Draft, kind: Kind, empty: list[bool], same: tuple[int, int] | None, lengths: list[int]
) -> dict[str, int]:
    turns = len(draft.prompt) > 2 and sum(turn["role"] == "user" for turn in draft.prompt) > 1
    if draft.tie:
        return {"ties": 1, "multi_turn": turns}
    if kind == "pair":
        longer = lengths[0] - lengths[1]
        return {
            "pairs": 1,
            "identical_pairs": same is not None,
            "empty_chosen": empty[0],
            "empty_rejected": empty[1],
            "chosen_longer": longer > 0,
            "same_length": longer == 0,
            "multi_turn": turns,
        }
    if kind == "unpaired":
        return {"unpaired": 1, "desirable": draft.label, "undesirable": not draft.label, "multi_turn": turns}
    ties = sum(count * (count - 1) // 2 for count in Counter(draft.ranks).values())
    comparisons = len(draft.ranks) * (len(draft.ranks) - 1) // 2 - ties
    return {"rankings": 1, "comparisons": comparisons, "ties": ties, "multi_turn": turns}


def _useless(draft: Draft, kind: Kind, empty: list[bool], same: tuple[int, int] | None) -> RowFault | None:
    if any(empty):
        return RowFault("completion_empty", draft.paths[1 + empty.index(True)], "The answer is empty.")
    if same:
        one, other = same
        told = "The two answers are" if kind == "pair" else f"Answers {one + 1} and {other + 1} are"
        return RowFault("chosen_equals_rejected", draft.paths[1 + other], f"{told} the same.")
    if kind == "ranking" and len(set(draft.ranks)) == 1:
        return RowFault("ranks_all_equal", draft.ranks_path, "All answers have the same rank.")
    return None


def _given(row: Row, part: str) -> str | None:
    given = row.get("id")
    if given is None or given == "":
        return None
    if type(given) not in (str, int):
        raise RowFault("field_type", "id", "`id` should be a text or a whole number.")
    return f"{given}{part}"
