"""What a prompt and an answer must keep to, the same for every format and kind."""

from typing import Any

from preferences.draft import LEFT_OUT, Draft, Turn
from preferences.faults import RowFault
from preferences.strict_json import parse

# Columns of pictures and sounds: to train on the text alone would be to drop them in silence.
_PICTURES = frozenset({"images", "image", "videos", "video", "audios", "audio"})
DEPTH = 32
_BEFORE = frozenset({"system", "developer"})


def keep_to_rules(draft: Draft, warnings: list[str]) -> None:
    """Raises RowFault where the row is malformed; adds to `warnings`."""
    if _is_plain(draft):
        return
    _check_prompt(draft.prompt, draft.paths[0], warnings)
    for answer, path in zip(draft.answers, draft.paths[1:], strict=True):
        _check_answer(answer, path)
    for answer, path in zip(draft.answers, draft.paths[1:], strict=True):
        if any(turn["role"] == "tool" for turn in draft.prompt) or (
            len(answer) > 1 and any(turn["role"] == "tool" for turn in answer)
        ):
            _check_tools_answered(draft.prompt, answer, draft.paths[0], path)
    if draft.extra:
        _check_no_pictures(draft.extra)
        _check_none_left_out(draft)
    if draft.tools is not None:
        draft.tools = _read_tools(draft.tools)
        _check_tools(draft.tools)


def _is_plain(draft: Draft) -> bool:
    """A question and answers of one turn each, as most are: nothing else has to be looked at."""
    if len(draft.prompt) != 1 or draft.extra or draft.tools is not None:
        return False
    asked = draft.prompt[0]
    if asked["role"] != "user" or not (asked.get("content") or "").strip():
        return False
    return all(len(answer) == 1 and answer[0]["role"] == "assistant" for answer in draft.answers)


def _check_prompt(prompt: list[Turn], path: str, warnings: list[str]) -> None:
    if not any((turn.get("content") or "").strip() or "tool_calls" in turn for turn in prompt):
        raise RowFault("prompt_empty", path, "The prompt has no text.")
    last = prompt[-1]["role"]
    if last == "assistant":
        raise RowFault("prompt_ends_with_assistant", path, "The prompt ends with an assistant message.")
    if last in _BEFORE:
        raise RowFault("role_order", path, f"The prompt ends with a {last} message, so nobody has asked anything.")
    if last == "user" and not (prompt[-1].get("content") or "").strip():
        raise RowFault("prompt_empty", path, "The last user message has no text.")
    spoken = False
    for turn in prompt:
        if turn["role"] not in _BEFORE:
            spoken = True
        elif spoken:
            warnings.append("system_in_middle")
            break


def _check_answer(answer: list[Turn], path: str) -> None:
    if not answer:
        return
    if answer[0]["role"] != "assistant":
        raise RowFault(
            "completion_not_assistant", f"{path}[0].role", f"The answer begins with a {answer[0]['role']} message."
        )
    if answer[-1]["role"] != "assistant":
        raise RowFault("completion_not_assistant", path, f"The answer ends with a {answer[-1]['role']} message.")
    for turn in answer:
        if turn["role"] in _BEFORE:
            raise RowFault("role_order", path, f"A {turn['role']} message stands inside the answer.")


def _check_tools_answered(prompt: list[Turn], answer: list[Turn], prompt_path: str, path: str) -> None:
    """Each tool message answers a call made before it."""
    called: set[str] = set()
    open_round = False
    for number, turn in enumerate([*prompt, *answer]):
        at = f"{prompt_path}[{number}]" if number < len(prompt) else f"{path}[{number - len(prompt)}]"
        if "tool_calls" in turn:
            called |= {call["id"] for call in turn["tool_calls"] if call.get("id")}
        if turn["role"] == "tool":
            call = turn.get("tool_call_id")
            if not open_round:
                raise RowFault("tool_call_unresolved", at, "A tool message that no tool call comes before.")
            if call is not None and called and call not in called:
                raise RowFault("tool_call_unresolved", f"{at}.tool_call_id", f'No call has the id "{call[:60]}".')
        else:
            open_round = "tool_calls" in turn


def _check_none_left_out(draft: Draft) -> None:
    """Of the prompt's turns none is trained on anyhow."""
    for turn in draft.prompt:
        turn.pop(LEFT_OUT, None)
    for answer, path in zip(draft.answers, draft.paths[1:], strict=True):
        for number, turn in enumerate(answer):
            if LEFT_OUT in turn:
                raise RowFault(
                    "message_left_out", f"{path}[{number}]", "An answer's message asks to be left out of the loss."
                )


def _check_no_pictures(extra: dict[str, Any]) -> None:
    for name in _PICTURES & extra.keys():
        if extra[name]:
            raise RowFault(
                "content_part_unsupported", name, f"The record comes with `{name}`; only text is trained on."
            )


def _read_tools(tools: Any) -> Any:
    """The list; some write it, or each tool, as JSON text."""
    if type(tools) is str:
        tools = _parsed(tools, "tools") if tools.strip() else None
    if type(tools) is list and any(type(tool) is str for tool in tools):
        return [_parsed(tool, f"tools[{number}]") if type(tool) is str else tool for number, tool in enumerate(tools)]
    return tools


def _parsed(text: str, path: str) -> Any:
    try:
        return parse(text.encode(), DEPTH)
    except RowFault as fault:
        raise RowFault("tools_schema_invalid", path, f"`{path}` is a text that is no JSON: {fault.message}") from None


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if type(tools) is not list:
        raise RowFault("tools_schema_invalid", "tools", "`tools` is not a list.")
    for number, tool in enumerate(tools):
        named = tool.get("function", tool) if type(tool) is dict else None
        if type(named) is not dict or type(named.get("name")) is not str:
            raise RowFault("tools_schema_invalid", f"tools[{number}]", "The tool has no function with a name.")
