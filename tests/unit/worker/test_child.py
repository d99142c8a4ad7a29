"""A Task's child has no more time than it is given."""

import os
from pathlib import Path

import pytest

from worker import child


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    looked: list[bool] = []
    sleeps = ("-n", "1", "-r", "1", "import time; time.sleep(5)")
    with pytest.raises(child.TookTooLong, match="took longer"):
        child.run(tmp_path, "timeit", *sleeps, wall_seconds=0.6, alive=lambda: looked.append(True))
    assert len(looked) == 2


def test_who_is_not_its_holder_any_more_ends_it(tmp_path: Path) -> None:
    def alive() -> None:
        raise InterruptedError

    sleeps = ("-n", "1", "-r", "1", "import time; time.sleep(5)")
    with pytest.raises(InterruptedError):
        child.run(tmp_path, "timeit", *sleeps, wall_seconds=60, alive=alive)


def test_a_child_gives_way_to_all_others(tmp_path: Path) -> None:
    tells = ("-n", "1", "-r", "1", "import os; open('nice', 'w').write(str(os.nice(0)))")
    child.run(tmp_path, "timeit", *tells, wall_seconds=60, alive=lambda: None)
    assert int((tmp_path / "nice").read_text()) == min(19, os.nice(0) + child.NICE)
