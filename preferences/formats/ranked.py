"""Several answers to one prompt, each with a rank or a rating."""

import math
from typing import Any

from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.turns import read_answer, read_prompt, repeats

NAME = "ranked"
KEYS = (
    "`prompt` (a text or messages) and either `answers` [{`answer`, `rank`}], 1 the best, "
    "or `responses` [...] and `ratings` [...], the highest the best"
)
# A pairwise loss makes 2,016 pairs of as many.
MOST = 64
_USED = frozenset({"prompt", "system", "answers", "responses", "ratings", "tools", "id"})
_OF_ANSWER = frozenset({"answer", "rank"})


def matches(row: Row) -> bool:
    listed = isinstance(row.get("answers"), list) or (isinstance(row.get("responses"), list) and "ratings" in row)
    return listed and "prompt" in row


def read(row: Row) -> Draft:
    """Ranks are told from 1 without gaps, whatever numbers the file has; equal numbers are a tie."""
    extra = remaining(row, _USED)
    prompt = read_prompt(row, extra)
    if row.get("answers") is None and row.get("responses") is not None:
        answers, paths, ratings = _responses(row, extra)
        best_first = [-rating for rating in ratings]
        ranks_path = "ratings"
    else:
        answers, paths, best_first = _answers(row, extra)
        ranks_path = "answers"
    place = {value: rank for rank, value in enumerate(sorted(set(best_first)), 1)}
    ranks = [place[value] for value in best_first]
    draft = Draft(prompt, answers, ("prompt", *paths), row.get("tools"), extra, ranks=ranks, ranks_path=ranks_path)
    if repeats(row["prompt"], [answer[0].get("content") if answer else None for answer in answers]):
        draft.warnings.append("prompt_repeated_in_completion")
    return draft


def _answers(row: Row, extra: dict[str, Any]) -> tuple[list[list[Turn]], list[str], list[float]]:
    answers: list[list[Turn]] = []
    paths: list[str] = []
    ranks: list[float] = []
    for number, item in enumerate(_several(row.get("answers"), "answers")):
        at = f"answers[{number}]"
        if type(item) is not dict:
            raise RowFault("field_type", at, f"`{at}` should be an object with `answer` and `rank`.")
        answers.append(read_answer(item.get("answer"), f"{at}.answer", extra))
        paths.append(f"{at}.answer")
        ranks.append(_number(item.get("rank"), f"{at}.rank"))
        extra.update({f"{at}.{key}": value for key, value in item.items() if key not in _OF_ANSWER})
    return answers, paths, ranks


def _responses(row: Row, extra: dict[str, Any]) -> tuple[list[list[Turn]], list[str], list[float]]:
    responses = _several(row["responses"], "responses")
    ratings = row.get("ratings")
    if type(ratings) is not list:
        code = "field_missing" if ratings is None else "field_type"
        raise RowFault(code, "ratings", "`ratings` should be a list of one number a response.")
    if len(ratings) != len(responses):
        raise RowFault("rank_invalid", "ratings", f"{len(responses)} responses have {len(ratings)} ratings.")
    paths = [f"responses[{number}]" for number in range(len(responses))]
    answers = [read_answer(item, path, extra) for item, path in zip(responses, paths, strict=True)]
    return answers, paths, [_number(value, f"ratings[{number}]") for number, value in enumerate(ratings)]


def _several(value: Any, path: str) -> list[Any]:
    if type(value) is not list:
        code = "field_missing" if value is None else "field_type"
        raise RowFault(code, path, f"`{path}` should be a list of answers.")
    if not 2 <= len(value) <= MOST:
        raise RowFault("rank_invalid", path, f"A ranking has 2 to {MOST} answers; this one has {len(value)}.")
    return value


def _number(value: Any, path: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise RowFault("rank_invalid", path, f"`{path}` is not a number.")
    return value  # type: ignore[no-any-return]
