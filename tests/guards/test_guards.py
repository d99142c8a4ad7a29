"""Each guard is taken away in turn, and a test goes red each time; so none of them stands there for nothing."""

from pathlib import Path

import pytest

from tests.guards.copy import copy_to, cries
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


@pytest.mark.parametrize("guard", [marked(guard) for guard in GUARDS])
@pytest.mark.usefixtures("stack")
def test_without_it_a_test_fails(guard: Guard, copied: Path, shared: Path) -> None:
    assert cries(guard, copied, shared)


def test_every_guard_stands_where_it_is_said_to_stand(copied: Path) -> None:
    for guard in GUARDS:
        assert (copied / guard.path).read_text().count(guard.held) == 1, guard.name
        file, _, name = guard.test.partition("::")
        name = name.partition("[")[0]
        assert f"def {name}(" in (copied / file).read_text() or not name, guard.name
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 80
    assert {guard.name for guard in GUARDS} > set(IN_EVERY_RUN)
