"""Lengths by nearest rank, and a histogram that holds every answer once."""

import pytest

from core.contract.preference import parse_record
from preferences.checks.lengths import Lengths, bound
from preferences.checks.seen import look
from preferences.report import Spread


def turns(length: int, role: str = "assistant") -> list[dict[str, str]]:
    return [{"role": role, "content": "x" * length}]


def see(lengths: Lengths, **record: object) -> None:
    common = {"id": "i", "origin": {"line": 1, "format": "f"}, "prompt": turns(7, "user")}
    lengths.see(look(parse_record.validate_python({**common, **record})))


def test_pairs_by_nearest_rank() -> None:
    lengths = Lengths()
    for n in range(1, 101):
        see(lengths, kind="pair", chosen=turns(n), rejected=turns(2 * n))
    assert lengths.spreads() == {
        "prompt": Spread(median=7, p95=7, max=7),
        "chosen": Spread(median=50, p95=95, max=100),
        "rejected": Spread(median=100, p95=190, max=200),
    }
    found = lengths.histograms()
    assert {name: sum(count for _, count in bins) for name, bins in found.items()} == {"chosen": 100, "rejected": 100}
    assert [each for each, _ in found["chosen"]][:3] == [1, 2, 3]
    assert found["chosen"][-1][0] >= 100


def test_several_turns_count_together_and_calls_have_no_length() -> None:
    lengths = Lengths()
    several = [*turns(3), {"role": "user", "content": "xx"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]
    see(lengths, kind="pair", chosen=several, rejected=turns(0))
    assert lengths.spreads()["chosen"].max == 5
    assert lengths.spreads()["rejected"].max == 0
    assert lengths.histograms()["rejected"] == [(0, 1)]


def test_rankings_and_single_answers_have_sides_too() -> None:
    lengths = Lengths()
    see(lengths, kind="ranking", completions=[turns(1), turns(2), turns(9)], ranks=[2, 1, 1])
    see(lengths, kind="unpaired", completion=turns(4), label=True)
    see(lengths, kind="unpaired", completion=turns(5), label=False)
    assert {name: each.max for name, each in lengths.spreads().items()} == {
        "prompt": 7,
        "rejected": 1,
        "chosen": 9,
        "wanted": 4,
        "not wanted": 5,
    }


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1000, 16_777_216])
def test_a_step_is_a_sixteenth_at_most(length: int) -> None:
    assert length <= bound(length) <= length * 17 / 16
