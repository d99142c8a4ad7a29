"""Anthropic's hh-rlhf: whole dialogues as one text, turns marked by "\\n\\nHuman:" and "\\n\\nAssistant:"."""

import re

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.formats.trl import PROMPT_COLUMNS
from preferences.turns import read_text

NAME = "hh_rlhf"
KEYS = '`chosen`, `rejected`, each the whole dialogue as a text with "\\n\\nHuman:" and "\\n\\nAssistant:"'
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLE = {"Human": "user", "Assistant": "assistant"}
_USED = frozenset({"chosen", "rejected", "id"})


def matches(row: Row) -> bool:
    return not row.keys() & PROMPT_COLUMNS and any(
        isinstance(text, str) and HUMAN in text and ASSISTANT in text
        for text in (row.get("chosen"), row.get("rejected"))
    )


def read(row: Row) -> Draft:
    """The prompt is the longest common beginning, cut after its last "\\n\\nAssistant:"; answers may hold the mark."""
    chosen, rejected = read_text(row.get("chosen"), "chosen"), read_text(row.get("rejected"), "rejected")
    mark = chosen.rfind(ASSISTANT, 0, _shared(chosen, rejected))
    if mark < 0:
        raise RowFault(
            "no_common_prefix", "chosen", 'The dialogues share no beginning that reaches to an "\\n\\nAssistant:".'
        )
    cut = mark + len(ASSISTANT)
    return Draft(
        _prompt(chosen[:mark]),
        (_answer(chosen[cut:]), _answer(rejected[cut:])),
        ("chosen", "chosen", "rejected"),
        None,
        remaining(row, _USED),
        characters=cut,
    )


def _shared(ours: str, theirs: str) -> int:
    """The length of the longest common beginning, by halving: slices compare at the speed of memory."""
    low, high = 0, min(len(ours), len(theirs))
    while low < high:
        middle = (low + high + 1) // 2
        if ours[low:middle] == theirs[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _prompt(text: str) -> list[Turn]:
    before, *pieces = _TURN.split(text)
    if before.strip():
        raise RowFault("role_order", "chosen", 'Text stands before the first "\\n\\nHuman:".')
    return [
        {"role": _ROLE[role], "content": content.strip()}
        for role, content in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _answer(text: str) -> list[Turn]:
    """One turn; more only where the dialogue goes on with "\\n\\nHuman:" after the answers part."""
    first, *rounds = text.split(HUMAN)
    turns: list[Turn] = [{"role": "assistant", "content": first.strip()}]
    for asked, mark, answered in (piece.partition(ASSISTANT) for piece in rounds):
        turns.append({"role": "user", "content": asked.strip()})
        if mark:
            turns.append({"role": "assistant", "content": answered.strip()})
    return turns
