"""LLaMA-Factory's alpaca layout: instruction and input, earlier rounds in `history`, two answers as texts."""

from typing import Any

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.turns import read_text, wrong

NAME = "llamafactory_alpaca"
KEYS = (
    "`instruction` (with `input`, `system`, `history`), `chosen`, `rejected`, each a text; or `output` [better, worse]"
)
_USED = frozenset({"instruction", "input", "system", "history", "chosen", "rejected", "tools", "id"})


def matches(row: Row) -> bool:
    if not isinstance(row.get("instruction"), str):
        return False
    answers = [row[name] for name in ("chosen", "rejected") if name in row]
    texts = bool(answers) and not any(isinstance(answer, list | dict) for answer in answers)
    return texts or _is_legacy(row)


def _is_legacy(row: Row) -> bool:
    return isinstance(row.get("output"), list) and not row.keys() & {"chosen", "rejected"}


def read(row: Row) -> Draft:
    """Instruction, a line end, the input where there is one."""
    extra = remaining(row, _USED)
    text = read_text(row.get("instruction"), "instruction")
    if row.get("input"):
        text += "\n" + read_text(row["input"], "input")
    prompt = [*_history(row.get("history")), {"role": "user", "content": text}]
    if row.get("system"):
        prompt.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    if _is_legacy(row):
        told = extra.pop("output")
        if len(told) != 2:
            raise RowFault("rank_invalid", "output", f"`output` has the better and the worse answer, not {len(told)}.")
        paths = ("output[0]", "output[1]")
    else:
        told = [row.get("chosen"), row.get("rejected")]
        paths = ("chosen", "rejected")
    answers = tuple(
        [{"role": "assistant", "content": read_text(value, path)}] for value, path in zip(told, paths, strict=True)
    )
    return Draft(prompt, answers, ("instruction", *paths), row.get("tools"), extra)


def _history(value: Any) -> list[Turn]:
    if value is None:
        return []
    if type(value) is not list:
        raise wrong(value, "history", "a list of rounds, each [question, answer]")
    turns: list[Turn] = []
    for number, each in enumerate(value):
        if type(each) is not list or len(each) != 2:
            raise RowFault("field_type", f"history[{number}]", "A round of `history` is [question, answer].")
        for place, role in enumerate(("user", "assistant")):
            turns.append({"role": role, "content": read_text(each[place], f"history[{number}][{place}]")})
    return turns
