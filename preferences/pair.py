"""The rules of a pair, the same for every format, and the canonical record."""

import hashlib
import json
import unicodedata
from typing import Any, NamedTuple

from core.contract.preference import PreferenceRecord
from preferences.draft import Draft, Row, Turn
from preferences.faults import RowFault

_BEFORE = frozenset({"system", "developer"})
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Pair(NamedTuple):
    """`useless` says why nothing can be learned from it; such a pair is counted and not written."""

    record: PreferenceRecord | None
    useless: RowFault | None
    warnings: list[str]
    identical: bool
    empty_chosen: bool
    empty_rejected: bool
    longer: int
    multi_turn: bool


def judge(draft: Draft, row: Row, line: int, name: str) -> Pair:
    """Raises RowFault where the row is malformed."""
    warnings = list(draft.warnings)
    _check_prompt(draft.prompt, draft.paths[0], warnings)
    for answer, path in zip((draft.chosen, draft.rejected), draft.paths[1:], strict=True):
        _check_answer(answer, path)
    if any(turn["role"] == "tool" for turn in (*draft.prompt, *draft.chosen, *draft.rejected)):
        for answer, path in zip((draft.chosen, draft.rejected), draft.paths[1:], strict=True):
            _check_tools_answered(draft.prompt, answer, draft.paths[0], path)
    _check_tools(draft.tools)
    identity = _identity(row)
    chosen_text, rejected_text = _spoken(draft.chosen), _spoken(draft.rejected)
    empty_chosen, empty_rejected = _is_empty(draft.chosen), _is_empty(draft.rejected)
    identical = _same(draft.chosen, draft.rejected)
    useless = _useless(empty_chosen, empty_rejected, identical, draft.paths)
    if draft.extra:
        warnings.append("extra_fields")
    return Pair(
        None if useless else _record(draft, identity, line, name),
        useless,
        warnings,
        identical,
        empty_chosen,
        empty_rejected,
        chosen_text - rejected_text,
        sum(turn["role"] == "user" for turn in draft.prompt) > 1,
    )


def _check_prompt(prompt: list[Turn], path: str, warnings: list[str]) -> None:
    if not any((turn.get("content") or "").strip() or "tool_calls" in turn for turn in prompt):
        raise RowFault("prompt_empty", path, "The prompt has no text.")
    last = prompt[-1]["role"]
    if last == "assistant":
        raise RowFault("prompt_ends_with_assistant", path, "The prompt ends with an assistant message.")
    if last in _BEFORE:
        raise RowFault("role_order", path, f"The prompt ends with a {last} message, so nobody has asked anything.")
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


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if type(tools) is not list:
        raise RowFault("tools_schema_invalid", "tools", "`tools` is not a list.")
    for number, tool in enumerate(tools):
        named = tool.get("function", tool) if type(tool) is dict else None
        if type(named) is not dict or type(named.get("name")) is not str:
            raise RowFault("tools_schema_invalid", f"tools[{number}]", "The tool has no function with a name.")


def _identity(row: Row) -> str | None:
    given = row.get("id")
    if given is None or given == "":
        return None
    if type(given) not in (str, int):
        raise RowFault("field_type", "id", "`id` should be a text or a whole number.")
    return str(given)


def _spoken(answer: list[Turn]) -> int:
    return sum(len(turn.get("content") or "") for turn in answer)


def _is_empty(answer: list[Turn]) -> bool:
    """The last assistant turn says nothing and calls nothing."""
    return not answer or not ((answer[-1].get("content") or "").strip() or "tool_calls" in answer[-1])


def _same(chosen: list[Turn], rejected: list[Turn]) -> bool:
    return chosen == rejected or (
        len(chosen) == len(rejected) and list(map(_folded, chosen)) == list(map(_folded, rejected))
    )


def _folded(turn: Turn) -> Turn:
    """White space and Unicode's several spellings of a letter make no difference to a reader."""
    content = " ".join((turn.get("content") or "").split())
    return {**turn, "content": content if content.isascii() else unicodedata.normalize("NFC", content)}


def _useless(empty_chosen: bool, empty_rejected: bool, identical: bool, paths: tuple[str, str, str]) -> RowFault | None:
    if empty_chosen or empty_rejected:
        return RowFault("completion_empty", paths[1] if empty_chosen else paths[2], "The answer is empty.")
    if identical:
        return RowFault("chosen_equals_rejected", paths[2], "The two answers are the same.")
    return None


def _record(draft: Draft, identity: str | None, line: int, name: str) -> PreferenceRecord:
    meta = draft.extra
    if type(meta.get("meta")) is dict:
        meta = {**meta.pop("meta"), **meta}
    if identity is None:
        told = _encode([draft.prompt, draft.chosen, draft.rejected])
        identity = "pair-" + hashlib.sha256(told.encode()).hexdigest()[:24]
    return PreferenceRecord.model_validate(
        {
            "id": identity,
            "prompt": draft.prompt,
            "chosen": draft.chosen,
            "rejected": draft.rejected,
            "tools": draft.tools or None,
            "meta": meta,
            "origin": {"line": line, "format": name},
        }
    )
