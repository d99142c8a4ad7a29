"""NVIDIA's two: NeMo-RL with ranked completions of messages, NeMo-Aligner with texts and turn marks in the prompt."""

import re
from collections.abc import Sequence
from typing import Any

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.formats import scores
from preferences.turns import read_answer, read_text, read_turns, wrong

RL, ALIGNER = "nemo_rl", "nemo_aligner"
RL_KEYS = "`context` [messages] and `completions` [{`rank`, `completion`}], the lowest rank the best"
ALIGNER_KEYS = "`prompt`, `chosen_response`, `rejected_response`, each a text; `chosen_reward`, `rejected_reward`"
MOST = 64
_USED_RL = frozenset({"context", "completions", "tools", "id"})
_USED_ALIGNER = frozenset({"prompt", "chosen_response", "rejected_response", "system", "tools", "id"})
_REWARDS = (("chosen_reward", "rejected_reward"),)
_MARK = re.compile(r"<extra_id_[0-9]>")
_TURN = re.compile(r"<extra_id_[01]>(System|User|Assistant)[ ]?\n")
_ROLE = {"System": "system", "User": "user", "Assistant": "assistant"}


def matches_rl(row: Row) -> bool:
    return isinstance(row.get("context"), list) and "completions" in row


def more_than_two(rows: Sequence[Row]) -> bool:
    """Whether it is rankings rather than pairs that the file holds."""
    return any(isinstance(row.get("completions"), list) and len(row["completions"]) > 2 for row in rows)


def read_rl(row: Row) -> Draft:
    """Of two completions a pair, the lower rank chosen; equal ranks are a tie."""
    draft = read_rl_ranking(row)
    if len(draft.answers) != 2:
        raise RowFault("rank_invalid", "completions", f"Two are expected, as in other rows; not {len(draft.answers)}.")
    ours, theirs = draft.ranks
    draft.tie, draft.ranks = ours == theirs, []
    if theirs < ours:
        draft.answers = draft.answers[::-1]
        draft.paths = (draft.paths[0], draft.paths[2], draft.paths[1])
    return draft


def read_rl_ranking(row: Row) -> Draft:
    extra = remaining(row, _USED_RL)
    prompt = read_turns(row.get("context"), "context", extra)
    completions = row.get("completions")
    if type(completions) is not list:
        raise wrong(completions, "completions", "a list of completions")
    if not 2 <= len(completions) <= MOST:
        raise RowFault("rank_invalid", "completions", f"2 to {MOST} are compared; this row has {len(completions)}.")
    answers: list[list[Turn]] = []
    paths = ["context"]
    numbers: list[float] = []
    for number, item in enumerate(completions):
        at = f"completions[{number}]"
        if type(item) is not dict:
            raise wrong(item, at, "an object with `rank` and `completion`")
        if not scores.is_number(item.get("rank")):
            raise RowFault("rank_invalid", f"{at}.rank", f"`{at}.rank` is not a number.")
        numbers.append(item["rank"])
        answers.append(read_answer(item.get("completion"), f"{at}.completion", extra))
        paths.append(f"{at}.completion")
        extra |= {f"{at}.{key}": value for key, value in item.items() if key not in ("rank", "completion")}
    place = {value: rank for rank, value in enumerate(sorted(set(numbers)), 1)}
    ranks = [place[value] for value in numbers]
    return Draft(prompt, answers, tuple(paths), row.get("tools"), extra, ranks=ranks, ranks_path="completions[].rank")


def matches_aligner(row: Row) -> bool:
    return isinstance(row.get("prompt"), str) and "chosen_response" in row and "rejected_response" in row


def read_aligner(row: Row) -> Draft:
    extra = remaining(row, _USED_ALIGNER)
    prompt = _prompt(read_text(row.get("prompt"), "prompt"))
    if row.get("system"):
        prompt.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    answers = tuple(_answer(row.get(name), name, extra) for name in ("chosen_response", "rejected_response"))
    draft = Draft(prompt, answers, ("prompt", "chosen_response", "rejected_response"), row.get("tools"), extra)
    return scores.take(draft, _REWARDS)


def _prompt(text: str) -> list[Turn]:
    """The turns that its marks part; the last mark, that of the coming answer, opens none."""
    before, *pieces = _TURN.split(text)
    if not pieces:
        return [{"role": "user", "content": _MARK.sub("", text)}]
    if before.strip():
        raise RowFault("role_order", "prompt", "Text stands before the first <extra_id> mark.")
    turns = [
        {"role": _ROLE[role], "content": _MARK.sub("", content).strip("\n")}
        for role, content in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    if turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()
    return [turn for turn in turns if turn["content"] or turn["role"] != "system"]


def _answer(value: Any, path: str, extra: dict[str, Any]) -> list[Turn]:
    if type(value) is str and _MARK.search(value):
        return [{"role": "assistant", "content": _MARK.sub("", value).strip("\n")}]
    return read_answer(value, path, extra)
