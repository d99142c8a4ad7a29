"""Rows whose columns a mapping has given their canonical names: which kind they are follows from the names."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from core.contract.errors import BadInput
from core.contract.preference import Kind
from preferences.draft import Draft, Row, Turn, remaining
from preferences.faults import RowFault
from preferences.formats import hh, scores, triple, trl
from preferences.mapping import MAIN, Mapping
from preferences.turns import read_answer, read_prompt, read_text, repeats, wrong

NAME = "mapped"
# Two answers compared: the first is better, the second is, or neither.
FIRST, SECOND, NEITHER = 1, 2, 0
MOST = 64
TEXTS = ("prompt", "chosen", "rejected")
_USED = frozenset({*MAIN, "id"})
_SHAPES = "prompt, chosen, rejected; prompt, completion, label; prompt, answers and ranks, ratings or pairs"

Reader = Callable[[Row], Draft | list[Draft]]


def reader(mapping: Mapping) -> tuple[Kind, Reader]:
    """Raises BadInput where the mapped fields make no record."""
    fields = mapping.main - {"system", "tools"}
    if {"chosen", "rejected"} <= fields <= {"prompt", "chosen", "rejected"}:
        return "pair", _pair
    if fields == {"prompt", "completion", "label"}:
        return "unpaired", _single
    for name in ("ranks", "ratings"):
        if fields == {"prompt", "answers", name}:
            return "ranking", partial(_ranking, name=name)
    if fields == {"prompt", "answers", "pairs"}:
        return "pair", _compared
    raise BadInput(f"`mapping` makes no record of {', '.join(sorted(fields))}; map {_SHAPES}.", param="mapping")


def raw(row: Row) -> Draft:
    """With `raw_text`: three texts."""
    for name in TEXTS:
        read_text(row.get(name), name)
    return triple.untouched(row, _pair(row))


def _pair(row: Row) -> Draft:
    """Without a prompt both answers are whole dialogues."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if row.get("prompt") is None:
        return trl.read_implicit(row) if type(chosen) is list else hh.read(row)
    extra = remaining(row, _USED)
    prompt = read_prompt(row, extra)
    answers = (read_answer(chosen, "chosen", extra), read_answer(rejected, "rejected", extra))
    draft = Draft(prompt, answers, ("prompt", "chosen", "rejected"), row.get("tools"), extra)
    return _warned(draft, row, [chosen, rejected])


def _single(row: Row) -> Draft:
    extra = remaining(row, _USED)
    prompt = read_prompt(row, extra)
    answer = read_answer(row.get("completion"), "completion", extra)
    label = row.get("label")
    if type(label) is not bool:
        code = "field_missing" if label is None else "label_not_bool"
        raise RowFault(code, "label", "`label` is neither true nor false.")
    draft = Draft(prompt, (answer,), ("prompt", "completion"), row.get("tools"), extra, label=label)
    return _warned(draft, row, [row["completion"]])


def _ranking(row: Row, name: str) -> Draft:
    extra = remaining(row, _USED)
    prompt = read_prompt(row, extra)
    answers, paths = _answers(row, extra)
    numbers = row.get(name)
    if type(numbers) is not list:
        raise wrong(numbers, name, "a list of one number an answer")
    if len(numbers) != len(answers):
        raise RowFault("rank_invalid", name, f"{len(answers)} answers have {len(numbers)} {name}.")
    for place, number in enumerate(numbers):
        if not scores.is_number(number):
            raise RowFault("rank_invalid", f"{name}[{place}]", f"`{name}[{place}]` is not a number.")
    best_first = numbers if name == "ranks" else [-number for number in numbers]
    order = {value: rank for rank, value in enumerate(sorted(set(best_first)), 1)}
    ranks = [order[value] for value in best_first]
    draft = Draft(prompt, answers, ("prompt", *paths), row.get("tools"), extra, ranks=ranks, ranks_path=name)
    return _warned(draft, row, row["answers"])


def _compared(row: Row) -> list[Draft]:
    """A record a comparison, in the order 1-2, 1-3, ..., 2-3, ...: 1 the first is better, 2 the second, 0 a tie."""
    extra = remaining(row, _USED)
    prompt = read_prompt(row, extra)
    answers, paths = _answers(row, extra)
    told = row.get("pairs")
    results = told if type(told) is list else [told]
    both = list(itertools.combinations(range(len(answers)), 2))
    if len(results) != len(both):
        raise RowFault("rank_invalid", "pairs", f"{len(answers)} answers make {len(both)} pairs, not {len(results)}.")
    drafts = []
    for place, (result, (one, other)) in enumerate(zip(results, both, strict=True)):
        if result not in (FIRST, SECOND, NEITHER) or type(result) is not int:
            raise RowFault("rank_invalid", f"pairs[{place}]", "Write 1 (first better), 2 (second) or 0 (tie).")
        better, worse = (other, one) if result == SECOND else (one, other)
        drafts.append(
            Draft(
                prompt,
                (answers[better], answers[worse]),
                ("prompt", paths[better], paths[worse]),
                row.get("tools"),
                dict(extra),
                part=f"#{place + 1}",
                tie=result == NEITHER,
            )
        )
    return drafts


def _answers(row: Row, extra: dict[str, Any]) -> tuple[list[list[Turn]], list[str]]:
    value = row.get("answers")
    if type(value) is not list:
        raise wrong(value, "answers", "a list of answers")
    if not 2 <= len(value) <= MOST:
        raise RowFault("rank_invalid", "answers", f"2 to {MOST} answers are compared; this row has {len(value)}.")
    paths = [f"answers[{number}]" for number in range(len(value))]
    return [read_answer(each, path, extra) for each, path in zip(value, paths, strict=True)], paths


def _warned(draft: Draft, row: Row, answers: list[Any]) -> Draft:
    if repeats(row["prompt"], answers):
        draft.warnings.append("prompt_repeated_in_completion")
    return draft
