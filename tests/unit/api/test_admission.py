"""Who is new gets a place as long as somebody who holds as many is silent."""

import subprocess
import sys

from api.admission import Admission
from api.refusals import Refusals


class One:
    """A connection."""

    def __init__(self, address: str, *, idle: bool = True) -> None:
        self.address = address
        self.idle = idle
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


def full(*guests: One) -> Admission:
    admission = Admission(len(guests), Refusals())
    for each in guests:
        assert admission.enter(each)
    return admission


def test_the_one_that_is_silent_for_longest_goes_of_the_address_that_holds_most() -> None:
    crowd = [One("many") for _ in range(5)]
    few = [One("few"), One("few")]
    admission = full(few[0], *crowd, few[1])
    admission.rests(crowd[0])
    assert admission.enter(One("new"))
    assert [each.evicted for each in crowd] == [False, True, False, False, False]
    assert not any(each.evicted for each in few)
    assert admission.count == 7


def test_nobody_goes_whose_request_is_under_way() -> None:
    crowd = [One("many", idle=False) for _ in range(5)]
    other = One("few")
    admission = full(*crowd, other)
    assert not admission.enter(One("many")), "of its own all are at work, and others hold less"
    assert not other.evicted
    assert admission.enter(One("new", idle=False))
    assert other.evicted
    assert not admission.enter(One("another")), "all are at work"


def test_who_holds_most_makes_room_among_its_own() -> None:
    mine, others = [One("mine") for _ in range(3)], [One("others"), One("others")]
    admission = full(*others, *mine)
    assert admission.enter(One("mine"))
    assert mine[0].evicted
    assert not any(each.evicted for each in others)


def test_leaving_twice_is_leaving_once() -> None:
    guests = [One("a"), One("b")]
    admission = full(*guests)
    for each in (*guests, *guests, One("never there")):
        admission.leave(each)
    assert admission.count == 0


def test_the_soft_limit_of_descriptors_becomes_the_hard_one() -> None:
    code = (
        "import resource; from api.admission import raise_descriptors\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))\n"
        "print(raise_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["200", "200", "200"]
