"""A bucket gives what it holds, is refilled at its rate, and forgets no more than it must."""

import pytest

from core.buckets import Buckets, Rate, draw

RATE = Rate(per_second=50, burst=100)


class Clock:
    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


def test_the_burst_at_once_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(RATE, now=clock)
    assert [buckets.draw("k").granted for _ in range(150)] == [1] * 100 + [0] * 50
    for _ in range(3):
        clock.now += 0.2
        assert sum(buckets.draw("k").granted for _ in range(50)) == 10


def test_when_to_come_again() -> None:
    clock = Clock()
    buckets = Buckets(Rate(per_second=0.5, burst=2), now=clock)
    assert [buckets.draw("k").one_in for _ in range(3)] == [0, pytest.approx(2), pytest.approx(2)]
    clock.now += 1.5
    refused = buckets.draw("k")
    assert (refused.granted, refused.one_in, refused.full_in) == (0, pytest.approx(0.5), pytest.approx(2.5))
    clock.now += refused.one_in
    assert buckets.draw("k").granted == 1


@pytest.mark.parametrize("wanted", [1, 7, 100, 1_000])
def test_a_lot_is_as_many_single_ones(wanted: int) -> None:
    lacks, lot = draw(0.0, wanted, RATE)
    assert lot.granted == min(wanted, 100)
    single = 0.0
    for _ in range(lot.granted):
        single, one = draw(single, 1, RATE)
        assert one.granted == 1
    assert lacks == pytest.approx(single)


def test_buckets_are_apart_and_one_may_be_given_back() -> None:
    buckets = Buckets(Rate(1, 1), now=Clock())
    assert [buckets.draw(name).granted for name in "aab"] == [1, 0, 1]
    buckets.give_back("a")
    assert [buckets.draw(name).granted for name in "ab"] == [1, 0]


def test_memory_is_bounded_and_who_lacks_something_is_remembered() -> None:
    clock = Clock()
    buckets = Buckets(Rate(1, 10), most=100, now=clock)
    for number in range(99):
        buckets.draw(str(number))
    clock.now += 2  # those are full again
    buckets.draw("greedy", 10)
    for number in range(100, 150):
        buckets.draw(str(number))
        assert len(buckets) <= 100
    assert buckets.draw("greedy").granted == 0
    for number in range(1_000):
        buckets.draw(f"at once {number}")
        assert len(buckets) <= 100
