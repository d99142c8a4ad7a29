"""TRL's conversational formats: the prompt given as messages, or implied by what both dialogues share."""

from preferences.draft import Draft, Row, remaining
from preferences.formats import dialogue, scores
from preferences.formats.argilla import RATINGS
from preferences.turns import read_turns

CONVERSATIONAL = "trl_conversational"
CONVERSATIONAL_KEYS = "`prompt`, `chosen`, `rejected`, each a list of messages"
IMPLICIT = "trl_implicit"
IMPLICIT_KEYS = "`chosen`, `rejected`, each the whole dialogue as a list of messages, and no `prompt`"

PATHS = ("prompt", "chosen", "rejected")
_USED = frozenset({"prompt", "chosen", "rejected", "tools", "id"})
# Columns of other formats that hold the prompt: with them these rows mean something else.
PROMPT_COLUMNS = frozenset({"prompt", "question", "input", "instruction", "messages", "conversations"})


def matches_conversational(row: Row) -> bool:
    return isinstance(row.get("prompt"), list) and ("chosen" in row or "rejected" in row)


def read_conversational(row: Row) -> Draft:
    extra = remaining(row, _USED)
    prompt, chosen, rejected = (read_turns(row.get(key), key, extra) for key in PATHS)
    return Draft(prompt, (chosen, rejected), PATHS, row.get("tools"), extra)


def matches_implicit(row: Row) -> bool:
    answers = isinstance(row.get("chosen"), list) or isinstance(row.get("rejected"), list)
    return answers and not row.keys() & PROMPT_COLUMNS


def read_implicit(row: Row) -> Draft:
    """The prompt is the longest common beginning of both dialogues, short of the last message of either."""
    extra = remaining(row, _USED)
    chosen = read_turns(row.get("chosen"), "chosen", extra)
    rejected = read_turns(row.get("rejected"), "rejected", extra)
    prompt, chosen, rejected = dialogue.part(chosen, rejected, ("chosen", "rejected"))
    draft = Draft(prompt, (chosen, rejected), ("chosen", *PATHS[1:]), row.get("tools"), extra)
    return scores.take(draft, RATINGS)
