"""Processes that belong to this `palate up` but are no children of it: they carry its lifeline.

A supervisor catches SIGTERM and drains: resume point, attempt `preempted`, job back to `queued`. A task does not; it is
short, and is waited for.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from core import processes

VARIABLE = "PALATE_LIFELINE"
LOOK_SECONDS = 0.05
DRAIN_SECONDS = 30.0
TASK_SECONDS = 10.0


def lifeline() -> str:
    """This process, as `core.processes.parse` reads it."""
    return str(processes.this_process())


def carrying(named: str) -> list[int]:
    """The pids whose environment has this lifeline, or whose command, where they close their environment to us."""
    wanted = f"{VARIABLE}={named}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # A fork's command is one string.
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").split(b" ")
                if wanted in words or wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def drain(named: str, hurry: Callable[[], bool]) -> bool:
    """Asks each once, as soon as it listens, and waits; what stays too long is killed. True if all went by themselves.

    Whoever starts such processes is gone by then, so none is added.
    """
    began = time.monotonic()
    asked: set[int] = set()
    while left := carrying(named):
        for pid in left:
            if pid not in asked and _catches_sigterm(pid):
                asked.add(pid)
                _send(pid, signal.SIGTERM)
        waited = time.monotonic() - began
        if hurry() or waited > (DRAIN_SECONDS if asked.intersection(left) else TASK_SECONDS):
            end(named)
            return False
        time.sleep(LOOK_SECONDS)
    return True


def end(named: str, seconds: float = 3.0) -> None:
    """SIGKILL, until none is left; the ranks of a supervisor die with it."""
    deadline = time.monotonic() + seconds
    while (left := carrying(named)) and time.monotonic() < deadline:
        for pid in left:
            _send(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def _catches_sigterm(pid: int) -> bool:
    """False while it still starts: the signal would kill it before it can say why."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
