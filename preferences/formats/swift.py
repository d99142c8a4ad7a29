"""ms-swift and axolotl: `messages` that hold the chosen answer, or two answers of one message beside them."""

from preferences.draft import Draft, Row, remaining
from preferences.faults import RowFault
from preferences.formats import dialogue
from preferences.turns import read_answer, read_text, read_turn, read_turns, wrong

NAME = "swift_axolotl"
KEYS = (
    "`messages` that end with the chosen answer and `rejected_response` (a text) or `rejected_messages`; "
    "or `messages` and `chosen`, `rejected`, one message each"
)
_USED = frozenset({"messages", "rejected_response", "rejected_messages", "chosen", "rejected", "system", "tools", "id"})
_ANSWERS = frozenset({"rejected_response", "rejected_messages", "chosen", "rejected"})


def matches(row: Row) -> bool:
    return isinstance(row.get("messages"), list) and bool(row.keys() & _ANSWERS) and "prompt" not in row


def read(row: Row) -> Draft:
    extra = remaining(row, _USED)
    messages = read_turns(row.get("messages"), "messages", extra)
    if row.get("system"):
        messages.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    tools = row.get("tools")
    if row.get("rejected_messages") is not None:
        rejected = read_turns(row["rejected_messages"], "rejected_messages", extra)
        if row.get("system"):
            rejected.insert(0, messages[0])
        prompt, chosen, rejected = dialogue.part(messages, rejected, ("messages", "rejected_messages"))
        return Draft(prompt, (chosen, rejected), ("messages", "messages", "rejected_messages"), tools, extra)
    if row.get("rejected_response") is not None:
        rejected = read_answer(row["rejected_response"], "rejected_response", extra)
        if not messages or messages[-1]["role"] != "assistant":
            raise RowFault("completion_not_assistant", "messages", "The messages do not end with the chosen answer.")
        paths = ("messages", f"messages[{len(row['messages']) - 1}]", "rejected_response")
        return Draft(messages[:-1], (messages[-1:], rejected), paths, tools, extra)
    answers = []
    for name in ("chosen", "rejected"):
        value = row.get(name)
        if type(value) is dict:
            answers.append([read_turn(value, name, extra)])
        elif type(value) in (list, str):
            answers.append(read_answer(value, name, extra))
        else:
            raise wrong(value, name, "a message")
    return Draft(messages, answers, ("messages", "chosen", "rejected"), tools, extra)
