"""The verdict on one row, the same for every format: a canonical record, or why nothing can be learned from it."""

import hashlib
from collections import Counter
from typing import Any, NamedTuple

from core.contract.preference import AnyRecord, Kind, PreferenceRecord, RankingRecord, TieRecord, UnpairedRecord
from preferences import about, columns
from preferences.answers import encode, is_empty, repeated, spoken
from preferences.draft import Draft, Row
from preferences.faults import RowFault
from preferences.rules import keep_to_rules

# A tie has none of them: neither answer is better by anything.
_OF_PAIRS = frozenset({"confidence", "margin"})
_PREFIX: dict[Kind, str] = {"pair": "pair-", "unpaired": "answer-", "ranking": "ranking-"}


class Judged(NamedTuple):
    """`useless` says why nothing can be learned; such a row is counted and not written. `figures` add to the counts."""

    record: AnyRecord | None
    useless: RowFault | None
    warnings: list[str]
    figures: dict[str, int]
    columns: dict[str, float]
    beside: dict[str, Any]
    prompt: bytes
    answers: list[bytes]


def judge(draft: Draft, kind: Kind, row: Row, line: int, name: str) -> Judged:
    """Raises RowFault where the row is malformed."""
    warnings = list(draft.warnings)
    keep_to_rules(draft, warnings)
    numbers = columns.take(draft.extra, kind)
    if draft.margin is not None:
        numbers.setdefault("margin", draft.margin)
    beside = about.take(draft.extra) if draft.extra else {}
    if draft.annotators:
        beside.setdefault("annotators", draft.annotators)
    empty = [is_empty(answer) for answer in draft.answers]
    same = repeated(draft.answers)
    figures = _figures(draft, kind, empty, same)
    useless = _useless(draft, kind, empty, same)
    if draft.extra:
        warnings.append("extra_fields")
    if figures.get("ties") and not useless:
        warnings.append("tie_dropped")
    prompt, answers = encode(draft.prompt).encode(), [encode(answer).encode() for answer in draft.answers]
    identity = _given(row, draft.part) or _identity(draft, kind, prompt, answers)
    record = None if useless else _record(draft, kind, numbers | beside, identity, line, name)
    return Judged(record, useless, warnings, figures, numbers, beside, prompt, answers)


def _figures(draft: Draft, kind: Kind, empty: list[bool], same: tuple[int, int] | None) -> dict[str, int]:
    turns = sum(turn["role"] == "user" for turn in draft.prompt) > 1
    if draft.tie:
        return {"ties": 1, "multi_turn": turns}
    if kind == "pair":
        longer = spoken(draft.answers[0]) - spoken(draft.answers[1])
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


def _identity(draft: Draft, kind: Kind, prompt: bytes, answers: list[bytes]) -> str:
    told = [prompt, *answers]
    if kind != "pair" or draft.tie:
        told.append(encode({"pair": "tie", "unpaired": draft.label, "ranking": draft.ranks}[kind]).encode())
    return _PREFIX[kind] + hashlib.sha256(b"[%b]" % b",".join(told)).hexdigest()[:24]


def _record(draft: Draft, kind: Kind, beside: dict[str, Any], identity: str, line: int, name: str) -> AnyRecord:
    meta = draft.extra | draft.scores if draft.scores else draft.extra
    if type(meta.get("meta")) is dict:
        meta = {**meta.pop("meta"), **meta}
    common = {
        "id": identity,
        "prompt": draft.prompt,
        "tools": draft.tools or None,
        "meta": meta,
        "origin": {"line": line, "format": name},
        **beside,
    }
    if kind == "pair":
        chosen, rejected = draft.answers
        if draft.tie:
            return TieRecord.model_validate(
                {name: value for name, value in common.items() if name not in _OF_PAIRS}
                | {"chosen": chosen, "rejected": rejected}
            )
        return PreferenceRecord.model_validate({**common, "chosen": chosen, "rejected": rejected})
    if kind == "unpaired":
        return UnpairedRecord.model_validate({**common, "completion": draft.answers[0], "label": draft.label})
    return RankingRecord.model_validate({**common, "completions": draft.answers, "ranks": draft.ranks})
