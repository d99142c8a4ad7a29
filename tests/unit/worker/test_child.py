"""A Task's child has no more time than it is given."""

from pathlib import Path

import pytest

from worker import child


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    looked: list[bool] = []
    sleeps = ("-n", "1", "-r", "1", "import time; time.sleep(5)")
    with pytest.raises(child.ChildFailed, match="took longer"):
        child.run(tmp_path, "timeit", *sleeps, wall_seconds=0.6, alive=lambda: looked.append(True))
    assert len(looked) == 2


def test_who_is_not_its_holder_any_more_ends_it(tmp_path: Path) -> None:
    def alive() -> None:
        raise InterruptedError

    sleeps = ("-n", "1", "-r", "1", "import time; time.sleep(5)")
    with pytest.raises(InterruptedError):
        child.run(tmp_path, "timeit", *sleeps, wall_seconds=60, alive=alive)
