"""Places for uploads and waits: what one project does keeps no other out."""

import asyncio
from contextlib import ExitStack

import pytest

from api.places import Places
from api.waiting import Waiters
from core.contract.errors import Unavailable


def test_a_project_holds_half_and_others_get_theirs() -> None:
    places = Places(8, "places for uploads")
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(places.one("greedy"))
        with pytest.raises(Unavailable, match=r"holds 4 of the 4 places for uploads .* again in 5 seconds") as refused:
            held.enter_context(places.one("greedy"))
        assert (refused.value.code, refused.value.retry_after) == ("busy", 5)
        for _ in range(4):
            held.enter_context(places.one("other"))
        with pytest.raises(Unavailable):
            held.enter_context(places.one("other"))
    assert places.taken == 0


def test_who_has_none_always_gets_one() -> None:
    """However many projects hold what there is; a second one is another matter."""
    places = Places(4, "places")
    with ExitStack() as held:
        for project in ("a", "a", "b", "b", "c", "d"):
            held.enter_context(places.one(project))
        with pytest.raises(Unavailable, match=r"holds 1 of the 2 places .* others hold the rest"):
            held.enter_context(places.one("c"))


def test_the_only_place_is_nobodys_alone() -> None:
    places = Places(1, "places")
    with places.one("a"), places.one("b"), pytest.raises(Unavailable), places.one("a"):
        pass
    with places.one("a"):
        pass


def test_a_place_comes_back_however_its_holder_ends() -> None:
    places = Places(2, "places")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.one("a"):
            raise ZeroDivisionError
    assert places.taken == 0


def test_a_crowd_of_one_project_lets_another_wait() -> None:
    async def waits() -> bool:
        waiters = Waiters(40)
        with ExitStack() as crowd:
            got = [crowd.enter_context(waiters.watching(f"job{n}", "greedy")) for n in range(100)]
            assert sum(each is not None for each in got) == 20
            with waiters.watching("mine", "other") as watch:
                assert watch is not None
                waiters._wake("mine")
                return await watch.change(1, 60)

    assert asyncio.run(asyncio.wait_for(waits(), 10))
