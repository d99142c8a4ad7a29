"""docs/numerics.md names every limit as it is in the code, tests that exist, and each fault that is planted."""

import importlib
import re
from pathlib import Path

import pytest

from tests.support.planted import FAULTS
from tests.unit.test_faults_page import functions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "numerics.md").read_text()
LINES = [line for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in LINES]
CONSTANTS = [row for row in ROWS if re.fullmatch(r"`[\w.]+\.[A-Z_]+`", row[0])]
SECTION = PAGE.partition("## Faults")[2]
# Where a limit is made; each of their constants that says one must stand on the page.
MODULES = ("trainer.noise", "trainer.exact", "trainer.probe", "trainer.gate")
SIZES = {
    "ANSWERS",
    "PADDING",
    "OTHER_TILE_BYTES",
    "WRITTEN_OUT",
    "APART",
    "SCORED",
    "ONE_TILE",
    "EXAMPLES",
    "LONGEST",
    "SHORT",
}
IMPORTED = {"LOSSES"}


@pytest.mark.parametrize("row", CONSTANTS, ids=[row[0] for row in CONSTANTS])
def test_each_constant_is_the_code_s(row: list[str]) -> None:
    module, _, name = row[0].strip("`").rpartition(".")
    found = getattr(importlib.import_module(module), name)
    known = found if isinstance(found, dict) else {"fp32": found, "bf16": found}
    assert known == {"fp32": float(row[1]), "bf16": float(row[2])}


def test_no_limit_is_missing() -> None:
    named = {row[0].strip("`") for row in CONSTANTS}
    for module in map(importlib.import_module, MODULES):
        numbers = {
            name
            for name, value in vars(module).items()
            if name.isupper() and name not in SIZES | IMPORTED and isinstance(value, int | float | dict)
        }
        assert {f"{module.__name__}.{name}" for name in numbers} <= named


def test_each_fault_has_a_test_that_exists_and_each_planted_one_a_row() -> None:
    rows = [row for row in ROWS if len(row) == 5 and "::test_" in row[4]]
    assert len(rows) == SECTION.count("\n| ") - 1
    for fault, *_, tests in rows:
        for path, name, words in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( \(slow\))?", tests):
            known = functions(ROOT / path)
            assert name in known, f"{fault}: {path}::{name}"
            assert words.strip(" ()") == known[name], f"{path}::{name} is {known[name] or 'not slow'}"
    assert FAULTS.keys() <= {row[0] for row in rows}
