"""Argilla's copies of UltraFeedback: instruction and two responses, often with a rating each."""

from preferences.draft import Draft, Row, remaining
from preferences.formats import scores
from preferences.turns import read_answer, read_text

NAME = "argilla_uf"
KEYS = "`instruction`, `chosen_response`, `rejected_response`, each a text; `chosen_rating`, `rejected_rating`"
_USED = frozenset({"instruction", "chosen_response", "rejected_response", "system", "tools", "id"})
RATINGS = tuple(
    (f"chosen{mark}{kind}", f"rejected{mark}{kind}")
    for kind in ("rating", "avg_rating", "score", "reward")
    for mark in ("_", "-")
)


def matches(row: Row) -> bool:
    return isinstance(row.get("instruction"), str) and ("chosen_response" in row or "rejected_response" in row)


def read(row: Row) -> Draft:
    extra = remaining(row, _USED)
    prompt = [{"role": "user", "content": read_text(row.get("instruction"), "instruction")}]
    if row.get("system"):
        prompt.insert(0, {"role": "system", "content": read_text(row["system"], "system")})
    names = ("chosen_response", "rejected_response")
    answers = tuple(read_answer(row.get(name), name, extra) for name in names)
    return scores.take(Draft(prompt, answers, ("instruction", *names), row.get("tools"), extra), RATINGS)
