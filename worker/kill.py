"""Ending processes for certain: known by pid and start time, so that a reused pid is never hit."""

import contextlib
import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Process:
    """`start_time` in clock ticks since boot (field 22 of /proc/PID/stat)."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Running under this very identity, and not a zombie."""
        state, started = _stat(self.pid)
        return started == self.start_time and state not in ("Z", "X", "")

    def kill(self) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def write(self, path: Path) -> None:
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps({"pid": self.pid, "start_time": self.start_time}))
        partial.rename(path)


def this_process() -> Process:
    return of(os.getpid())


def of(pid: int) -> Process:
    return Process(pid, _stat(pid)[1])


def read(path: Path) -> Process | None:
    """None for a file that is not there or not whole: its writer did not get that far."""
    try:
        seen = json.loads(path.read_text())
        return Process(int(seen["pid"]), int(seen["start_time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parse(text: str) -> Process:
    """`pid:start_time`, as a lifeline names it."""
    pid, start_time = text.split(":")
    return Process(int(pid), int(start_time))


def kill_all(processes: Iterable[Process], deadline_seconds: float = 10.0) -> bool:
    """SIGKILL to each, and wait; True when none is left."""
    waiting = [process for process in processes if process.alive()]
    deadline = time.monotonic() + deadline_seconds
    while waiting and time.monotonic() < deadline:
        for process in waiting:
            process.kill()
            wait(process, 0.5)
        waiting = [process for process in waiting if process.alive()]
    return not waiting


def wait(process: Process, seconds: float) -> bool:
    """Until the process is gone, at most `seconds`; True when it is."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        if not process.alive():
            return True
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(max(0, int(seconds * 1_000))))
    finally:
        os.close(handle)


def die_with_parent() -> None:
    """In the child, before exec: the kernel kills it when the thread that made it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _stat(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", -1
