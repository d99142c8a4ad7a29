"""Single answers, each with a label: wanted or not. TRL's unpaired format, and that of LLaMA-Factory and ms-swift."""

from preferences.draft import Draft, Row, remaining
from preferences.faults import RowFault
from preferences.turns import read_answer, read_prompt, read_turns, repeats

NAME = "kto"
KEYS = (
    "`prompt` and `completion` (texts or messages), or `messages` that end with the answer, "
    "and `label` (or `kto_tag`), true or false"
)
_LABELS = ("label", "kto_tag")
_OF_PAIRS = frozenset({"chosen", "rejected", "rejected_response", "rejected_messages"})
_USED = {
    (form, label): frozenset({*keys, label, "tools", "id"})
    for form, keys in (("completion", ("prompt", "completion", "system")), ("messages", ("messages",)))
    for label in _LABELS
}


def matches(row: Row) -> bool:
    answered = ("prompt" in row and "completion" in row) or isinstance(row.get("messages"), list)
    return answered and any(label in row for label in _LABELS) and not row.keys() & _OF_PAIRS


def read(row: Row) -> Draft:
    label = next((name for name in _LABELS if row.get(name) is not None), None)
    if label is None:
        raise RowFault("field_missing", "label", "`label` is missing; it should be true or false.")
    if type(row[label]) is not bool:
        raise RowFault("label_not_bool", label, f"`{label}` is neither true nor false.")
    draft = _whole(row, label) if row.get("messages") is not None and "completion" not in row else _parts(row, label)
    draft.label, draft.label_path = row[label], label
    return draft


def _whole(row: Row, label: str) -> Draft:
    """The last message is the answer."""
    extra = remaining(row, _USED["messages", label])
    turns = read_turns(row["messages"], "messages", extra)
    if turns and turns[-1]["role"] != "assistant":
        last = len(turns) - 1
        raise RowFault(
            "completion_not_assistant", f"messages[{last}].role", f"The last message is a {turns[-1]['role']} message."
        )
    return Draft(turns[:-1], (turns[-1:],), ("messages", "messages"), row.get("tools"), extra)


def _parts(row: Row, label: str) -> Draft:
    extra = remaining(row, _USED["completion", label])
    prompt = read_prompt(row, extra)
    completion = read_answer(row.get("completion"), "completion", extra)
    draft = Draft(prompt, (completion,), ("prompt", "completion"), row.get("tools"), extra)
    if repeats(row["prompt"], [row["completion"]]):
        draft.warnings.append("prompt_repeated_in_completion")
    return draft
