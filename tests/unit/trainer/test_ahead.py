"""The next row is made while this one is used; what goes wrong in the making is raised where it is used."""

import threading
from typing import Any

import pytest

from trainer.ahead import ahead


def test_each_row_comes_with_its_own_batch_one_in_advance() -> None:
    made: list[int] = []
    second = threading.Event()

    def make(row: int) -> Any:
        made.append(row)
        if row == 2:
            second.set()
        return f"batch {row}"

    found = []
    for row, batch in ahead([1, 2, 3, 4], make):
        if row == 1:
            assert second.wait(10), "the second is made while the first is used"
            assert made == [1, 2], "and no more than that"
        found.append((row, batch))
    assert found == [(n, f"batch {n}") for n in (1, 2, 3, 4)]
    assert list(ahead([], make)) == []


def test_what_fails_in_the_making_fails_the_run() -> None:
    def make(row: int) -> Any:
        if row == 2:
            raise ValueError("no such token")
        return row

    made = ahead([1, 2, 3], make)
    assert next(made) == (1, 1)
    with pytest.raises(ValueError, match="no such token"):
        next(made)
