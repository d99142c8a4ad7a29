"""Each guard is taken away in turn, and a test goes red each time; so none of them stands there for nothing."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.guards.copy import TEST_SECONDS, Outcome, copy_to, outcome, outcome_without
from tests.guards.guard import Guard
from tests.guards.guards import GUARDS, IN_EVERY_RUN


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guards")
    copy_to(folder)
    return folder


def marked(guard: Guard) -> object:
    slow = guard.name not in IN_EVERY_RUN
    return pytest.param(guard, id=guard.name, marks=[pytest.mark.slow] if slow else [])


@pytest.fixture(scope="module")
def untouched(stack: dict[str, str], copied: Path, shared: Path) -> Callable[[str], Outcome]:
    """Of a test while every guard stands: once a test."""
    return cache(lambda test: outcome(test, copied, shared))


@pytest.mark.timeout(2 * TEST_SECONDS + 60)
@pytest.mark.parametrize("guard", [marked(guard) for guard in GUARDS])
def test_without_it_a_test_fails(guard: Guard, untouched: Callable[[str], Outcome], copied: Path, shared: Path) -> None:
    """And passes with it: one that fails anyhow shows nothing."""
    before = untouched(guard.test)
    if before.skipped and not before.passed:
        pytest.skip(f"{guard.test}: {before.skipped[0]}")
    assert before.passed, before.told
    assert before.clean, before.told
    after = outcome_without(guard, copied, shared)
    assert after.failed, after.told


def test_every_guard_stands_where_it_is_said_to_stand(copied: Path) -> None:
    for guard in GUARDS:
        assert (copied / guard.path).read_text().count(guard.held) == 1, guard.name
        file, _, name = guard.test.partition("::")
        name = name.partition("[")[0]
        assert f"def {name}(" in (copied / file).read_text() or not name, guard.name
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 80
    assert {guard.name for guard in GUARDS} > set(IN_EVERY_RUN)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def test_it(): pass", (True, 1, 0, 0)),
        ("def test_it(): assert False", (False, 0, 1, 0)),
        ("import pytest\ndef test_it(): pytest.skip('no GPU')", (True, 0, 0, 1)),
        ("def test_it(no_such_fixture): pass", (False, 0, 0, 0)),
        ("import pytest, signal\n@pytest.mark.timeout(1)\ndef test_it(): signal.pause()", (False, 0, 0, 0)),
    ],
)
def test_only_a_test_that_fails_by_itself_is_a_cry(
    source: str, said: tuple[bool, int, int, int], copied: Path, shared: Path
) -> None:
    (copied / "tests" / "test_planted.py").write_text(source)
    found = outcome("tests/test_planted.py", copied, shared)
    assert (found.clean, found.passed, found.failed, len(found.skipped)) == said, found.told
