"""The writer thread: order, bound, the first failure, waiting for the end."""

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from trainer.background import Background

PATIENCE = 10


def nothing() -> None:
    """A job that only takes its place."""


def waits_for(gate: threading.Event) -> Callable[[], None]:
    def job() -> None:
        assert gate.wait(PATIENCE)

    return job


def test_jobs_run_in_order_beside_the_caller() -> None:
    background, done = Background(limit=100), list[tuple[int, bool]]()
    caller = threading.get_ident()
    for number in range(20):
        background.submit(lambda number=number: done.append((number, threading.get_ident() == caller)), 1)
    background.drain()
    assert done == [(number, False) for number in range(20)]


@pytest.mark.parametrize("use", ["submit", "room"])
def test_who_would_hold_more_has_to_wait(use: str) -> None:
    """One snapshot is written, one waits: the third is taken only when there is room. That bounds the memory."""
    background, gate, third = Background(limit=99), threading.Event(), threading.Event()
    background.submit(waits_for(gate), 100)
    background.submit(nothing, 100)

    def come() -> None:
        background.submit(nothing, 100) if use == "submit" else background.room()
        third.set()

    caller = threading.Thread(target=come)
    caller.start()
    assert not third.wait(0.05)
    gate.set()
    caller.join(PATIENCE)
    assert third.is_set()
    background.drain()


def test_who_needs_what_a_job_holds_waits_for_that_one_alone() -> None:
    background, first, second, over = Background(limit=99), threading.Event(), threading.Event(), threading.Event()
    writing, later = waits_for(first), waits_for(second)
    background.submit(nothing)
    background.submit(writing, 1)
    background.submit(later, 1)

    def come() -> None:
        background.done(writing)
        over.set()

    caller = threading.Thread(target=come)
    caller.start()
    assert not over.wait(0.05)
    first.set()
    caller.join(PATIENCE)
    assert over.is_set()
    second.set()
    background.drain()


def test_small_jobs_do_not_hold_up_anybody() -> None:
    background, gate = Background(limit=99), threading.Event()
    background.submit(waits_for(gate), 1)
    for _ in range(50):
        background.submit(nothing, 1)
    gate.set()
    background.drain()


def test_the_first_failure_ends_it_and_is_raised_at_each_look() -> None:
    background, done = Background(limit=99), list[int]()

    def fail() -> None:
        raise OSError(28, "No space left on device")

    background.submit(fail, 1)
    with pytest.raises(OSError, match="No space"):
        background.drain()
    for use in (background.look, background.drain, background.room, lambda: background.submit(nothing, 1)):
        with pytest.raises(OSError, match="No space"):
            use()
    assert done == []


def test_a_failure_frees_who_waits_for_room() -> None:
    background, gate = Background(limit=0), threading.Event()

    def fail() -> None:
        gate.wait(PATIENCE)
        raise OSError("disk")

    background.submit(fail, 1)
    background.submit(nothing, 1)
    threading.Timer(0.05, gate.set).start()
    with pytest.raises(OSError, match="disk"):
        background.submit(nothing, 1)


def test_abandoned_jobs_are_dropped_and_a_running_one_can_tell() -> None:
    background, began, go = Background(limit=99), threading.Event(), threading.Event()
    seen, done = list[bool](), list[int]()

    def run() -> None:
        began.set()
        go.wait(PATIENCE)
        seen.append(background.abandoned)

    background.submit(run, 1)
    assert began.wait(PATIENCE)
    background.submit(lambda: done.append(1), 1)
    background.abandon()
    background.submit(lambda: done.append(2), 1)
    go.set()
    background.drain()
    assert (seen, done) == ([True], [])


def test_what_a_job_held_is_freed_when_it_is_done() -> None:
    class Tensors:
        """Something that a weak reference can watch."""

    background, held = Background(limit=99), Tensors()
    gone = weakref.ref(held)
    background.submit(lambda held=held: None, 1)
    del held
    background.drain()
    gc.collect()
    assert gone() is None
