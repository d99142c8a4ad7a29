"""A histogram of lengths holds every answer once, in steps of a sixteenth at most."""

import pytest

from preferences.lengths import Lengths, bound
from tests.unit.preferences.rows import check, jsonl, kto, triple


def test_every_answer_is_in_one_step() -> None:
    lengths = Lengths()
    for n in range(1, 101):
        lengths.add("prompt", 7)
        lengths.add("chosen", n)
        lengths.add("rejected", 0)
    found = lengths.histograms()
    assert sum(count for _, count in found["chosen"]) == 100
    assert found["chosen"][:3] == [(1, 1), (2, 1), (3, 1)]
    assert found["chosen"][-1][0] >= 100
    assert found["rejected"] == [(0, 100)]
    assert "prompt" not in found


def test_the_report_has_them_by_the_names_of_the_sides() -> None:
    assert set(check(jsonl([triple(n) for n in range(12)])).histograms) == {"chosen", "rejected"}
    assert set(check(jsonl([kto(n) for n in range(12)])).histograms) == {"desirable", "undesirable"}


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1000, 16_777_216])
def test_a_step_is_a_sixteenth_at_most(length: int) -> None:
    assert length <= bound(length) <= length * 17 / 16
