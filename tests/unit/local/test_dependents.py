"""Draining: processes that carry a lifeline, some of which listen to SIGTERM."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from core import ids
from local import dependents
from tests.waiting import until

LISTENS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); signal.pause()"
SLOW_TO_LISTEN = "import time; time.sleep(0.5); " + LISTENS
DEAF = "import signal; signal.signal(15, lambda *_: None)\nwhile True: signal.pause()"
SHORT = "import time; time.sleep(0.3)"
LONG = "import signal; signal.pause()"
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def named() -> str:
    return f"{os.getpid()}:{ids.new('')}"


@pytest.fixture
def start(named: str) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(program: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", program], env={dependents.VARIABLE: named})
        started.append(process)
        until(lambda: process.pid in dependents.carrying(named), "its environment")
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def never() -> bool:
    return False


def test_a_lifeline_is_this_very_process() -> None:
    pid, start = dependents.lifeline().split(":")
    assert int(pid) == os.getpid()
    assert dependents.lifeline() == f"{pid}:{start}"


def test_only_those_that_carry_it_are_found(named: str, start: Start) -> None:
    ours = start(LONG)
    other = subprocess.Popen([sys.executable, "-c", LONG], env={dependents.VARIABLE: named + "0"})
    try:
        assert dependents.carrying(named) == [ours.pid]
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("program", [LISTENS, SLOW_TO_LISTEN])
def test_who_listens_is_asked_once_it_does(program: str, named: str, start: Start) -> None:
    process = start(program)
    assert dependents.drain(named, never)
    assert process.wait(5) == 7


def test_who_does_not_listen_may_finish(named: str, start: Start) -> None:
    process = start(SHORT)
    assert dependents.drain(named, never)
    assert process.wait(5) == 0


@pytest.mark.parametrize("program", [DEAF, LONG])
def test_who_stays_too_long_is_killed(program: str, named: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependents, "DRAIN_SECONDS", 0.5)
    monkeypatch.setattr(dependents, "TASK_SECONDS", 0.5)
    process = start(program)
    assert not dependents.drain(named, never)
    assert process.wait(5) == -9


def test_a_second_signal_waits_for_nobody(named: str, start: Start) -> None:
    process = start(DEAF)
    assert not dependents.drain(named, lambda: True)
    assert process.wait(5) == -9
