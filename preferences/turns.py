"""Message lists as people write them, read into role and text without losing anything silently."""

from collections.abc import Sequence
from typing import Any

from preferences.draft import LEFT_OUT, Row, Turn
from preferences.faults import RowFault

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_KNOWN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
# An assistant's reasoning, as servers give it back; chat templates read the first name.
_REASONING = ("reasoning_content", "reasoning", "thinking", "thinking_content")
# By which others leave an assistant message out of the loss: OpenAI's weight of 0, the flags of ms-swift and axolotl.
_WEIGHT, _FLAGS = "weight", ("loss", "train", "training")
# Fields that change what the model is shown or says: refused rather than moved to `meta`.
_SPEAKING = frozenset({"function_call", "audio", "refusal", "images", "image", "video", "videos"})


def read_turns(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    """The turns of a message list; unknown keys of a message land in `extra` under their path."""
    if type(value) is not list:
        raise wrong(value, path, "a list of messages")
    turns: list[Turn] = []
    for number, item in enumerate(value):
        if type(item) is not dict:
            raise wrong(item, f"{path}[{number}]", "an object with role and content")
        role, content = item.get("role"), item.get("content")
        if len(item) == 2 and type(content) is str and type(role) is str and role in ROLES:
            turns.append({"role": role, "content": content})
        else:
            turns.append(read_turn(item, f"{path}[{number}]", extra))
    return turns


def read_prompt(row: Row, extra: dict[str, Any]) -> list[Turn]:
    """`prompt` as a text or as messages, behind the text of `system` where there is one."""
    turns = _text_or_turns(row.get("prompt"), "prompt", "user", extra)
    if row.get("system"):
        turns.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    return turns


def read_answer(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    """A text or messages."""
    return _text_or_turns(value, path, "assistant", extra)


def _text_or_turns(value: Any, path: str, role: str, extra: dict[str, Any]) -> list[Turn]:
    if type(value) is str:
        return [{"role": role, "content": value}]
    if type(value) is list:
        return read_turns(value, path, extra)
    raise wrong(value, path, "a text or a list of messages")


def repeats(asked: Any, answers: Sequence[Any]) -> bool:
    """Whether all are texts, and every answer begins with the prompt's."""
    return bool(asked) and type(asked) is str and all(type(each) is str and each.startswith(asked) for each in answers)


def read_text(value: Any, path: str) -> str:
    if type(value) is not str:
        raise wrong(value, path, "a text")
    return value


def read_turn(item: dict[str, Any], path: str, extra: dict[str, Any]) -> Turn:
    """One message."""
    role = item.get("role")
    if role is None:
        raise RowFault("field_missing", f"{path}.role", "The message has no role.")
    if type(role) is not str or role not in ROLES:
        raise RowFault("role_invalid", f"{path}.role", f"{_shown(role)} is not a role.")
    turn: Turn = {"role": role}
    calls = _tool_calls(item.get("tool_calls"), f"{path}.tool_calls", role)
    content = _content(item.get("content"), f"{path}.content")
    if content is not None:
        turn["content"] = content
    elif not calls and not any(item.get(key) is not None for key in _SPEAKING):
        raise RowFault("field_missing", f"{path}.content", "The message has no content.")
    if calls:
        turn["tool_calls"] = calls
    thought = _reasoning(item, path) if role == "assistant" else None
    if thought is not None:
        turn["reasoning_content"] = thought
    if role == "assistant" and left_out(item):
        turn[LEFT_OUT] = True
    for key in ("name", "tool_call_id"):
        if item.get(key) is not None:
            turn[key] = read_text(item[key], f"{path}.{key}")
    for key, value in item.items():
        if key in _KNOWN or value is None or value == []:
            continue
        if role == "assistant" and key in _REASONING and type(value) is str:
            continue
        if key in _SPEAKING:
            raise RowFault("content_part_unsupported", f"{path}.{key}", f"`{key}` of a message is not trained on.")
        extra[f"{path}.{key}"] = value
    return turn


def left_out(item: dict[str, Any]) -> bool:
    """Whether a message asks for another share in the loss than the one that every message of an answer has."""
    return item.get(_WEIGHT) not in (None, [], 1) or any(item.get(key) is False for key in _FLAGS)


def _reasoning(item: dict[str, Any], path: str) -> str | None:
    """One text, under whichever name."""
    if item.get(_REASONING[0]) is not None:
        read_text(item[_REASONING[0]], f"{path}.{_REASONING[0]}")
    given = [(key, item[key]) for key in _REASONING if type(item.get(key)) is str]
    said = list(dict.fromkeys(text for _, text in given if text.strip()))
    if len(said) > 1:
        raise RowFault("field_type", f"{path}.{given[1][0]}", "The message has two reasonings that differ.")
    other = next((key for key in _REASONING if type(item.get(key)) in (dict, list) and item[key]), None)
    if other and not said:
        raise wrong(item[other], f"{path}.{other}", "a text")
    return said[0] if said else None


def _content(value: Any, path: str) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is not list:
        raise wrong(value, path, "a text or a list of content parts")
    texts = []
    for number, part in enumerate(value):
        at = f"{path}[{number}]"
        if type(part) is not dict:
            raise wrong(part, at, "an object with type and text")
        if part.get("type") != "text":
            raise RowFault("content_part_unsupported", f"{at}.type", f"A part of type {_shown(part.get('type'))}.")
        texts.append(read_text(part.get("text"), f"{at}.text"))
    return "".join(texts)


def _tool_calls(value: Any, path: str, role: str) -> list[dict[str, Any]] | None:
    if value is None or value == []:
        return None
    if role != "assistant":
        raise RowFault("role_invalid", path, f"A {role} message cannot call tools; only an assistant can.")
    if type(value) is not list:
        raise wrong(value, path, "a list of tool calls")
    for number, call in enumerate(value):
        at = f"{path}[{number}]"
        if type(call) is not dict:
            raise wrong(call, at, "an object with function and id")
        function = call.get("function")
        if type(function) is not dict:
            raise wrong(function, f"{at}.function", "an object with name and arguments")
        read_text(function.get("name"), f"{at}.function.name")
        if call.get("id") is not None:
            read_text(call["id"], f"{at}.id")
    return value


def wrong(value: Any, path: str, wanted: str) -> RowFault:
    """`field_missing` or `field_type`."""
    if value is None:
        return RowFault("field_missing", path, f"`{path}` is missing; it should be {wanted}.")
    return RowFault("field_type", path, f"`{path}` is {_kind(value)}; it should be {wanted}.")


def _kind(value: Any) -> str:
    names = {
        str: "a text",
        list: "a list",
        dict: "an object",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "of another type")


def _shown(value: Any) -> str:
    return f'"{value[:40]}"' if isinstance(value, str) else _kind(value) if value is not None else "null"
