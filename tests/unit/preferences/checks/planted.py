"""A file in which nothing is wrong, from a seed, and what the checks say of it once a fault is planted."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from core.contract.finding import Finding
from core.contract.preference import AnyRecord, Message, Origin, PreferenceRecord
from preferences.checks.run import Checks
from preferences.report import Report
from tests.unit.preferences.rows import check, jsonl

Row = dict[str, Any]
Rows = list[Row]

SUBJECTS = (
    "the river,a careful teacher,my older brother,the market,this recipe,the night train,an honest answer,the city "
    "council,her garden,the weather,a small company,the second chapter,our neighbour,the museum,a good question,the "
    "engine,their plan,the doctor,a quiet street,the orchestra"
).split(",")
VERBS = (
    "changes,explains,keeps,follows,remembers,opens,needs,carries,describes,protects,measures,supports,crosses,answers,"
    "invites,improves,watches,repairs,collects,reaches"
).split(",")
OBJECTS = (
    "the old bridge,a new idea,most of the work,the whole story,every visitor,some fresh bread,the northern road,what "
    "people say,a box of letters,the last ticket,more time,the same mistake,an easier way,the other side,the price of "
    "bread,two kinds of paper,a long winter,the first lesson,the broken window,a glass of water"
).split(",")
WHEN = (
    "in the morning,before the meeting,without any doubt,after a while,near the harbour,when it rains,for a good "
    "reason,on most days,as far as I know,during the summer,with some patience,once a year"
).split(",")


def sentence(draw: random.Random) -> str:
    words = [draw.choice(SUBJECTS), draw.choice(VERBS), draw.choice(OBJECTS), draw.choice(WHEN)]
    return f"{' '.join(words).capitalize()}{draw.choice('..!')}"


def answer(draw: random.Random) -> str:
    return " ".join(sentence(draw) for _ in range(draw.randint(3, 6)))


def clean(count: int = 400, seed: int = 0) -> Rows:
    """Pairs whose two answers come from the same distribution."""
    draw = random.Random(seed)
    return [
        {
            "prompt": f"{sentence(draw)} {sentence(draw)} Why does {draw.choice(SUBJECTS)} matter?",
            "chosen": answer(draw),
            "rejected": answer(draw),
        }
        for _ in range(count)
    ]


def dosed(rows: Rows, dose: float, plant: Callable[[Row, random.Random], Row], seed: int = 1) -> Rows:
    """The rows, of which a share had the fault planted."""
    draw = random.Random(seed)
    hit = set(draw.sample(range(len(rows)), round(dose * len(rows))))
    return [plant(dict(row), draw) if number in hit else row for number, row in enumerate(rows)]


def report(rows: Rows, **options: Any) -> Report:
    return check(jsonl(rows), **({"checks": "all"} | options))


def found(rows: Rows, **options: Any) -> dict[str, Finding]:
    made = report(rows, **options)
    assert made.error is None, made.error
    return {each.code: each for each in made.checks}


def quickly(rows: Rows) -> dict[str, Finding]:
    return found(rows, checks="quick")


def lines(finding: Finding) -> list[int]:
    return [each.line for each in finding.examples]


def pair(row: Row, line: int, **more: Any) -> PreferenceRecord:
    """The canonical record, with the fields that a row has no name for."""
    said = {name: [Message(role="assistant", content=row[name])] for name in ("chosen", "rejected")}
    asked = [Message(role="user", content=row["prompt"])]
    return PreferenceRecord(id=f"p{line}", prompt=asked, **said, origin=Origin(line=line, format="test"), **more)


def seen(records: Iterable[AnyRecord]) -> dict[str, Finding]:
    checks = Checks("quick")
    for row, record in enumerate(records):
        checks.see(record, row)
    return {each.code: each for each in checks.findings()}
