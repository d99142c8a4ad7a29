"""A few records for people to look at: those that findings name, then some by chance."""

import heapq
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.contract.finding import Finding
from core.contract.preference import AnyRecord, Message, RankingRecord, UnpairedRecord, parse_record
from preferences.canonical import lines_of
from preferences.checks.private import masked
from preferences.report import Sample, SampleAnswer

MOST, OF_A_FINDING, NAMED = 20, 4, 16
PROMPT, ANSWER, ANSWERS = 700, 900, 4
# Masked before it is shortened, or half a number could be left.
FAR = 4_000
# Longer lines would fill memory for a few hundred characters of them.
LONGEST_LINE = 1 << 20


def samples(canonical: Path, findings: Sequence[Finding], elements: Sequence[int] = ()) -> list[Sample]:
    """Of a canonical file, read once more: at most 20, in the order of the findings, those by chance behind them.

    `elements`: of a JSON array, which one each record is.
    """
    named = named_by(findings)
    found: dict[int, AnyRecord] = {}
    chance: list[tuple[int, int, bytes]] = []
    for number, row in enumerate(lines_of(canonical)):
        if len(row) > LONGEST_LINE:
            continue
        if number in named:
            found[number] = parse_record.validate_json(row)
            continue
        place = (-zlib.crc32(row), number, row)
        if len(chance) < MOST:
            heapq.heappush(chance, place)
        elif place > chance[0]:
            heapq.heapreplace(chance, place)
    picked = [sample(found[n], codes, elements[n] if elements else None) for n, codes in named.items() if n in found]
    others = [
        sample(parse_record.validate_json(row), [], elements[n] if elements else None)
        for _, n, row in sorted(chance, reverse=True)
    ]
    return picked + others[: MOST - len(picked)]


def named_by(findings: Iterable[Finding]) -> dict[int, list[str]]:
    """The place in the canonical file of a row's first record, and the codes that name the row; a few of each finding
    that warns or blocks. What is known by its line alone, as in another file, names none."""
    named: dict[int, list[str]] = {}
    for finding in findings:
        if finding.severity == "info":
            continue
        for example in finding.examples[:OF_A_FINDING]:
            if example.row is not None and (example.row in named or len(named) < NAMED):
                codes = named.setdefault(example.row, [])
                codes += [finding.code] if finding.code not in codes else []
    return named


def sample(record: AnyRecord, codes: list[str], element: int | None = None) -> Sample:
    return Sample(
        line=record.origin.line,
        element=element,
        prompt=ending(masked(told(record.prompt)[-FAR:])),
        answers=[SampleAnswer(name=name, text=beginning(masked(told(turns)[:FAR]))) for name, turns in answers(record)],
        codes=codes,
    )


def answers(record: AnyRecord) -> list[tuple[str, list[Message]]]:
    if isinstance(record, UnpairedRecord):
        return [("wanted" if record.label else "not wanted", record.completion)]
    if isinstance(record, RankingRecord):
        ordered = sorted(zip(record.ranks, record.completions, strict=True), key=lambda each: each[0])
        return [(f"rank {rank}", turns) for rank, turns in ordered[:ANSWERS]]
    names = ("chosen", "rejected") if record.kind == "pair" else ("tied", "tied")
    return list(zip(names, (record.chosen, record.rejected), strict=True))


def told(turns: Sequence[Message]) -> str:
    """One turn is its text; of several each begins with its role."""
    if len(turns) == 1 and not turns[0].tool_calls:
        return turns[0].content or ""
    return "\n\n".join(f"{turn.role}: {turn.content or ''}{calls(turn.tool_calls)}" for turn in turns)


def calls(made: list[dict[str, Any]] | None) -> str:
    return json.dumps(made, ensure_ascii=False) if made else ""


def beginning(text: str) -> str:
    return text if len(text) <= ANSWER else text[:ANSWER].rstrip() + " …"


def ending(text: str) -> str:
    return text if len(text) <= PROMPT else "… " + text[-PROMPT:].lstrip()
