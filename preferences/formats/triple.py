"""Plain texts: prompt, chosen, rejected, as on thousands of pages of the Hub."""

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.formats import scores
from preferences.formats.argilla import RATINGS
from preferences.turns import read_text, repeats

NAME = "plain_triple"
KEYS = "`prompt` (or `question`, or `input`), `chosen`, `rejected`, each a text; `system` may be given"
PROMPTS = ("prompt", "question", "input")
_FOREIGN = frozenset({"messages", "conversations"})
_USED = {key: frozenset({key, "chosen", "rejected", "system", "tools", "id"}) for key in PROMPTS}


def matches(row: Row) -> bool:
    asked = PROMPTS if "instruction" not in row else PROMPTS[:2]
    if not any(isinstance(row.get(key), str) for key in asked) or row.keys() & _FOREIGN:
        return False
    answers = [row[key] for key in ("chosen", "rejected") if key in row]
    return bool(answers) and not any(isinstance(answer, list | dict) for answer in answers)


def read_raw(row: Row) -> Draft:
    """With `raw_text`: no chat template will see them."""
    return untouched(row, read(row))


def untouched(row: Row, draft: Draft) -> Draft:
    """The draft of a row of texts; what only a chat template could put beside them is refused."""
    for name in ("system", "tools"):
        if row.get(name):
            raise RowFault("not_raw_text", name, f"`{name}` has no place in a raw text.")
    draft.raw_text = True
    return draft


def read(row: Row) -> Draft:
    """Texts wrapped in messages and otherwise untouched; the first of the prompt columns that is there counts."""
    column = next((key for key in PROMPTS if row.get(key) is not None), None)
    if column is None:
        raise RowFault("field_missing", "prompt", "`prompt` is missing; it should be a text.")
    prompt = read_text(row[column], column)
    chosen, rejected = read_text(row.get("chosen"), "chosen"), read_text(row.get("rejected"), "rejected")
    turns: list[Turn] = [{"role": "user", "content": prompt}]
    if row.get("system"):
        turns.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    draft = scores.take(
        Draft(
            turns,
            ([{"role": "assistant", "content": chosen}], [{"role": "assistant", "content": rejected}]),
            (column, "chosen", "rejected"),
            row.get("tools"),
            remaining(row, _USED[column]),
        ),
        RATINGS,
    )
    if repeats(prompt, (chosen, rejected)):
        draft.warnings.append("prompt_repeated_in_completion")
    return draft
