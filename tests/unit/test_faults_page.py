"""docs/faults.md names tests that exist, says which are slow, and knows every file of tests/faults."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( \((?:slow)?[^)]*\))?", PAGE)


def functions(path: Path) -> dict[str, bool]:
    """The tests of a file, and whether each is slow."""
    tree = ast.parse(path.read_text())
    all_slow = any(
        isinstance(each, ast.Assign) and "pytestmark" in ast.unparse(each.targets[0]) and "slow" in ast.unparse(each)
        for each in tree.body
    )
    return {
        each.name: all_slow or any(ast.unparse(mark) == "pytest.mark.slow" for mark in each.decorator_list)
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


def test_each_named_test_exists_and_is_as_slow_as_it_says() -> None:
    assert len(NAMED) > 40
    for path, name, words in NAMED:
        known = functions(ROOT / path)
        assert name in known, f"{path}::{name}"
        assert known[name] == words.startswith(" (slow"), f"{path}::{name} {words or 'is slow'}"


def test_no_file_of_faults_is_forgotten() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert files <= {path for path, _, _ in NAMED}, files - {path for path, _, _ in NAMED}


def test_each_row_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "|---" not in line][1:]
    assert len(rows) > 30
    for row in rows:
        assert "::test_" in row, row
