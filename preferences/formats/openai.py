"""OpenAI's preference format, also that of Azure, Together and Fireworks."""

from preferences.draft import Draft, Row, remaining
from preferences.faults import RowFault
from preferences.turns import read_turns

NAME = "openai_preference"
KEYS = "`input` {`messages`}, `preferred_output`, `non_preferred_output`"
_USED = frozenset({"input", "preferred_output", "non_preferred_output", "id"})


def matches(row: Row) -> bool:
    return "preferred_output" in row or "non_preferred_output" in row


def read(row: Row) -> Draft:
    """Messages as they are; `input.tools` are the tools, other keys of `input` go to `meta`."""
    extra = remaining(row, _USED)
    asked = row.get("input")
    if type(asked) is not dict:
        code, what = ("field_missing", "missing") if asked is None else ("field_type", "not an object")
        raise RowFault(code, "input", f"`input` is {what}; it should be an object with `messages`.")
    for key, value in asked.items():
        if key not in ("messages", "tools") and value is not None:
            extra[f"input.{key}"] = value
    return Draft(
        read_turns(asked.get("messages"), "input.messages", extra),
        (
            read_turns(row.get("preferred_output"), "preferred_output", extra),
            read_turns(row.get("non_preferred_output"), "non_preferred_output", extra),
        ),
        ("input.messages", "preferred_output", "non_preferred_output"),
        asked.get("tools"),
        extra,
    )
