"""Watching a job: no change is missed between reading and waiting, and nobody waits once the process stops."""

import asyncio

from api.waiting import Waiters


def test_a_change_between_reading_and_waiting_is_not_missed() -> None:
    async def waits() -> bool:
        waiters = Waiters(10)
        with waiters.watching("job", "p") as watch:
            assert watch is not None
            waiters._wake("job")  # the row was read before, and its version is known only now
            return await watch.change(1, 60)

    assert asyncio.run(asyncio.wait_for(waits(), 10))


def test_the_net_wakes_whom_a_version_concerns() -> None:
    async def waits() -> tuple[bool, bool]:
        waiters = Waiters(10)
        with waiters.watching("job", "p") as old, waiters.watching("job", "p") as new:
            assert old is not None
            assert new is not None
            tasks = [asyncio.create_task(old.change(1, 60)), asyncio.create_task(new.change(2, 60))]
            await asyncio.sleep(0)
            waiters._wake("job", 2)
            first = await tasks[0]
            assert not tasks[1].done()
            waiters.release()
            return first, await tasks[1]

    assert asyncio.run(asyncio.wait_for(waits(), 10)) == (True, False)


def test_the_time_ends_and_places_come_back() -> None:
    async def waits() -> None:
        waiters = Waiters(1)
        with waiters.watching("job", "p") as watch:
            assert watch is not None
            assert not await watch.change(1, 0.01)
            with waiters.watching("another", "p") as second:
                assert second is None
        with waiters.watching("job", "p") as watch:
            assert watch is not None
        waiters.release()
        with waiters.watching("job", "p") as watch:
            assert watch is None

    asyncio.run(waits())
