"""LLaMA-Factory's sharegpt layout: turns of `from` and `value`, and the two answers as one such turn each."""

from typing import Any

from preferences.draft import LEFT_OUT, Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.strict_json import parse
from preferences.turns import left_out, read_text, read_turn, wrong

NAME = "llamafactory_sharegpt"
KEYS = "`conversations` [{`from`, `value`}], `chosen` and `rejected` {`from`, `value`}; `system`, `tools`"
_USED = frozenset({"conversations", "chosen", "rejected", "system", "tools", "id"})
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "observation": "tool", "tool": "tool", "function_call": "assistant", "developer": "developer",
}  # fmt: skip


def matches(row: Row) -> bool:
    return isinstance(row.get("conversations"), list) and ("chosen" in row or "rejected" in row)


def read(row: Row) -> Draft:
    extra = remaining(row, _USED)
    prompt = _turns(row.get("conversations"), "conversations", extra)
    if row.get("system"):
        prompt.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    answers = tuple(_answer(row.get(name), name, extra) for name in ("chosen", "rejected"))
    return Draft(prompt, answers, ("conversations", "chosen", "rejected"), row.get("tools"), extra)


def _answer(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    if type(value) is dict:
        return [_turn(value, path, extra)]
    return _turns(value, path, extra)


def _turns(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    if type(value) is not list:
        raise wrong(value, path, "a list of turns with `from` and `value`")
    return [_turn(item, f"{path}[{number}]", extra) for number, item in enumerate(value)]


def _turn(item: Any, path: str, extra: dict[str, Any]) -> Turn:
    if type(item) is not dict:
        raise wrong(item, path, "an object with `from` and `value`")
    if "from" not in item and "role" in item:
        return read_turn(item, path, extra)
    told = item.get("from")
    if told is None:
        raise RowFault("field_missing", f"{path}.from", "The turn does not say who speaks.")
    if type(told) is not str or told not in _ROLES:
        raise RowFault("role_invalid", f"{path}.from", f'"{str(told)[:40]}" is none of {", ".join(_ROLES)}.')
    text = read_text(item.get("value"), f"{path}.value")
    extra |= {f"{path}.{key}": value for key, value in item.items() if key not in ("from", "value")}
    turn: Turn = {"role": _ROLES[told]}
    if told == "function_call":
        turn["tool_calls"] = _calls(text, f"{path}.value")
    else:
        turn["content"] = text
    if turn["role"] == "assistant" and left_out(item):
        turn[LEFT_OUT] = True
    return turn


def _calls(text: str, path: str) -> list[dict[str, Any]]:
    """A call, or several, written as JSON: {"name": ..., "arguments": {...}}."""
    try:
        value = parse(text.encode(), 32)
    except RowFault as fault:
        raise RowFault("tool_call_unresolved", path, f"The function call is no JSON: {fault.message}") from None
    calls = value if type(value) is list and value else [value]
    for call in calls:
        if type(call) is not dict or type(call.get("name")) is not str or call.keys() - {"name", "arguments"}:
            raise RowFault("tool_call_unresolved", path, "A function call is an object with `name` and `arguments`.")
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments", {})}}
        for call in calls
    ]
