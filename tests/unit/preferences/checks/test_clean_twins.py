"""Files in which nothing is wrong raise no warning, whichever checks are made at once; and each check has a dose."""

import ast
from functools import cache

import pytest

from core.contract.findings import CHECKS
from tests.conftest import ROOT
from tests.unit.preferences.checks.planted import clean, found

FOLDERS = ("preferences/checks", "trainer")


@pytest.mark.parametrize("size", [20, 100, 400])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_clean_files_raise_no_warning(size: int, seed: int) -> None:
    """Nor does the smallest one, whose batch is one pair: so it has the 20 steps of effective_size."""
    told = found(clean(size, seed))
    assert len(told) >= 15
    assert {code for code, each in told.items() if each.severity != "info"} == set()


@cache
def doses() -> list[set[str]]:
    """The strings of each test function of the checks' own folders, its parameters among them."""
    modules = [path for folder in FOLDERS for path in sorted((ROOT / "tests/unit" / folder).glob("test_*.py"))]
    trees = [ast.parse(path.read_text()) for path in modules]
    tests = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [
        {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
        for node in tests
        if node.name.startswith("test_")
    ]


@pytest.mark.parametrize("code", CHECKS)
def test_every_check_has_a_test_in_which_it_speaks(code: str) -> None:
    """One that has a limit is seen beyond it: to warn, or to block."""
    facts = CHECKS[code]
    limited = {facts.warn, facts.block, facts.warn_below} != {None}
    assert any(code in words and (not limited or words & {"warn", "block"}) for words in doses())
