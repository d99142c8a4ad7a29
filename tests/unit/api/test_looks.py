"""One read for all who ask at once, and never one that began before the question."""

import asyncio
import threading

import pytest

from api.looks import AT_ONCE, Looks


def test_a_crowd_is_one_read() -> None:
    reads: list[int] = []

    async def ask() -> list[int]:
        looks: Looks[int] = Looks()
        return await asyncio.gather(*(looks.at("job", lambda: reads.append(1) or 7) for _ in range(3 * AT_ONCE + 1)))

    assert asyncio.run(ask()) == [7] * (3 * AT_ONCE + 1)
    assert len(reads) == 1


def test_who_asks_while_a_read_is_under_way_gets_the_next() -> None:
    value, began, go = [1], threading.Event(), threading.Event()

    def slow() -> int:
        seen = value[0]
        began.set()
        assert go.wait(10)
        return seen

    async def ask() -> tuple[int, int, int]:
        looks: Looks[int] = Looks()
        first = asyncio.create_task(looks.at("job", slow))
        await asyncio.to_thread(began.wait, 10)
        value[0] = 2
        later = asyncio.create_task(looks.at("job", lambda: value[0]))
        other = asyncio.create_task(looks.at("another job", lambda: 3))
        answers = await asyncio.gather(later, other)
        go.set()
        return (await first, *answers)

    assert asyncio.run(ask()) == (1, 2, 3)


def test_each_is_told_of_an_error_and_who_left_is_not_missed() -> None:
    def broken() -> int:
        raise LookupError("no such job")

    async def ask() -> None:
        looks: Looks[int] = Looks()
        left, *others = (asyncio.create_task(looks.at("job", broken)) for _ in range(3))
        await asyncio.sleep(0)
        left.cancel()
        for each in others:
            with pytest.raises(LookupError):
                await each
        with pytest.raises(asyncio.CancelledError):
            await left

    asyncio.run(ask())
