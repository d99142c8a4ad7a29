"""docs/faults.md names tests that exist, says which are slow, and knows every file of tests/faults."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( \([^)]*\))?", PAGE)
SLOW = "pytest.mark.slow"


def functions(path: Path) -> dict[str, str]:
    """The tests of a file, and what each is: slow, partly slow (some of its cases), or nothing of that."""
    body = ast.parse(path.read_text()).body
    tests = [each for each in body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]
    others = {name_of(each): ast.unparse(each) for each in body if each not in tests}
    return {each.name: "slow" if SLOW in others.get("pytestmark", "") else slowness(each, others) for each in tests}


def name_of(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    return statement.name if isinstance(statement, ast.FunctionDef) else ""


def slowness(test: ast.FunctionDef, others: dict[str, str]) -> str:
    """Its cases are listed in its decorators, in what they name, and in the fixtures that it takes."""
    if any(ast.unparse(mark) == SLOW for mark in test.decorator_list):
        return "slow"
    named = {each.id for mark in test.decorator_list for each in ast.walk(mark) if isinstance(each, ast.Name)}
    named |= {each.arg for each in test.args.args}
    listed = [*map(ast.unparse, test.decorator_list), *(others.get(name, "") for name in named)]
    return "partly slow" if any(SLOW in each for each in listed) else ""


def test_each_named_test_exists_and_is_as_slow_as_it_says() -> None:
    assert len(NAMED) > 40
    for path, name, words in NAMED:
        known = functions(ROOT / path)
        assert name in known, f"{path}::{name}"
        told = words.strip(" ()").split(", ")[0]
        told = told if told.endswith("slow") else ""
        assert told == known[name], f"{path}::{name} is {known[name] or 'not slow'}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def test_it(): pass", ""),
        ("@pytest.mark.slow\ndef test_it(): pass", "slow"),
        ("pytestmark = [pytest.mark.slow]\ndef test_it(): pass", "slow"),
        (f"@pytest.mark.parametrize('a', [pytest.param(1, marks={SLOW}), 2])\ndef test_it(a): pass", "partly slow"),
        (
            f"ONE = pytest.param(1, marks={SLOW})\n@pytest.mark.parametrize('a', [ONE, 2])\ndef test_it(a): pass",
            "partly slow",
        ),
        (
            f"@pytest.fixture(params=[1, pytest.param(2, marks={SLOW})])\ndef a(): pass\ndef test_it(a): pass",
            "partly slow",
        ),
    ],
)
def test_slow_cases_are_seen(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(source)
    assert functions(tmp_path / "test_a.py") == {"test_it": said}


def test_no_file_of_faults_is_forgotten() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert files <= {path for path, _, _ in NAMED}, files - {path for path, _, _ in NAMED}


def test_each_row_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "|---" not in line][1:]
    assert len(rows) > 30
    for row in rows:
        assert "::test_" in row, row
