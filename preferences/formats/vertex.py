"""Google's Vertex AI: `contents` of parts, and two completions with a score each."""

from typing import Any

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.formats import scores
from preferences.turns import read_text, wrong

NAME = "vertex"
KEYS = "`contents` [{`role`, `parts`}] and two `completions` [{`score`, `completion`}]"
_USED = frozenset({"contents", "completions", "systemInstruction", "system_instruction", "id"})
_SYSTEM = ("systemInstruction", "system_instruction")
_ROLES = {"user": "user", "model": "assistant"}


def matches(row: Row) -> bool:
    return isinstance(row.get("contents"), list) and "completions" in row


def read(row: Row) -> Draft:
    """The higher score is the better answer; two equal ones are a tie."""
    extra = remaining(row, _USED)
    prompt = _turns(row.get("contents"), "contents", extra)
    for name in _SYSTEM:
        if row.get(name) is not None:
            prompt.insert(0, {"role": "system", "content": _parts(row[name], name, extra)})
    completions = row.get("completions")
    if type(completions) is not list:
        raise wrong(completions, "completions", "a list of two completions")
    if len(completions) != 2:
        raise RowFault("rank_invalid", "completions", f"Two completions are compared; this row has {len(completions)}.")
    found: list[tuple[float, list[Turn], str]] = []
    for number, item in enumerate(completions):
        at = f"completions[{number}]"
        if type(item) is not dict:
            raise wrong(item, at, "an object with `score` and `completion`")
        if not scores.is_number(item.get("score")):
            raise RowFault("rank_invalid", f"{at}.score", f"`{at}.score` is not a number.")
        extra |= {f"{at}.{key}": value for key, value in item.items() if key not in ("score", "completion")}
        found.append((item["score"], _turns([item.get("completion")], f"{at}.completion", extra), f"{at}.completion"))
    (ours, chosen, at), (theirs, rejected, beside) = sorted(found, key=lambda each: -each[0])
    draft = Draft(prompt, (chosen, rejected), ("contents", at, beside), None, extra, tie=ours == theirs)
    if {ours, theirs} != {0, 1} and 0 < ours - theirs <= scores.MOST:
        draft.margin, draft.margin_path = float(ours - theirs), "completions[].score"
    return draft


def _turns(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    if type(value) is not list:
        raise wrong(value, path, "a list of contents")
    turns = []
    for number, item in enumerate(value):
        at = path if path.endswith("completion") else f"{path}[{number}]"
        if type(item) is not dict:
            raise wrong(item, at, "an object with `role` and `parts`")
        role = item.get("role", "user")
        if type(role) is not str or role not in _ROLES:
            raise RowFault("role_invalid", f"{at}.role", f'"{str(role)[:40]}" is neither user nor model.')
        turns.append({"role": _ROLES[role], "content": _parts(item, at, extra)})
    return turns


def _parts(item: Any, path: str, extra: dict[str, Any]) -> str:
    """Text alone is trained on; calls and pictures are refused, not dropped."""
    parts = item.get("parts") if type(item) is dict else None
    if type(parts) is not list:
        raise wrong(parts, f"{path}.parts", "a list of parts")
    texts = []
    for number, part in enumerate(parts):
        at = f"{path}.parts[{number}]"
        if type(part) is not dict:
            raise wrong(part, at, "an object with `text`")
        if other := next((key for key in part if key != "text"), None):
            raise RowFault("content_part_unsupported", f"{at}.{other}", f"A part with `{other[:40]}`.")
        texts.append(read_text(part.get("text"), f"{at}.text"))
    return "".join(texts)
