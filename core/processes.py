"""Processes known by pid and start time, so that a reused pid is never hit: ending them, and dying with another."""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from core import beneath
from core.contract.failpoints import durable

PR_SET_PDEATHSIG = 1
ORPHANED = 137
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Process:
    """`start_time` in clock ticks since boot (field 22 of /proc/PID/stat)."""

    pid: int
    start_time: int

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.pid}:{self.start_time}"

    def alive(self) -> bool:
        """Running under this very identity, and not a zombie."""
        state, started = _stat(self.pid)
        return started == self.start_time and state not in ("Z", "X", "")

    def send(self, number: signal.Signals) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    @durable
    def sign(self, path: Path) -> None:
        """For who may have to end this process."""
        beneath.partial(path, json.dumps({"pid": self.pid, "start_time": self.start_time})).rename(path)

    def folder(self) -> str:
        """Where it is at work, as the kernel knows it; empty for one that is gone, or another user's."""
        try:
            found = os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return ""
        return found if self.alive() else ""


def this_process() -> Process:
    return of(os.getpid())


def of(pid: int) -> Process:
    return Process(pid, _stat(pid)[1])


def read(path: Path) -> Process | None:
    """None for a file that is not there or not whole: its writer did not get that far."""
    try:
        seen = json.loads(beneath.read(path.parent, path.name, 4_096))
        return Process(int(seen["pid"]), int(seen["start_time"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, beneath.NotBeneath):
        return None


def parse(text: str) -> Process:
    """`pid:start_time`. Raises ValueError."""
    pid, start_time = text.split(":")
    return Process(int(pid), int(start_time))


def kill_all(found: Iterable[Process], deadline_seconds: float = 10.0) -> bool:
    """SIGKILL to each, and wait; True when none is left."""
    waiting = [process for process in found if process.alive()]
    deadline = time.monotonic() + deadline_seconds
    while waiting and time.monotonic() < deadline:
        for process in waiting:
            process.kill()
            wait(process, 0.5)
        waiting = [process for process in waiting if process.alive()]
    return not waiting


def handle(process: Process) -> int | None:
    """A pidfd, readable from its death on; None when it is dead."""
    try:
        found = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if process.alive():
        return found
    os.close(found)
    return None


def wait(process: Process, seconds: float) -> bool:
    """Until the process is gone, at most `seconds`; True when it is."""
    found = handle(process)
    if found is None:
        return True
    try:
        poller = select.poll()
        poller.register(found, select.POLLIN)
        return bool(poller.poll(max(0, int(seconds * 1_000))))
    finally:
        os.close(found)


def watch(other: Process, on_death: Callable[[], None] = lambda: None) -> None:
    """Starts a thread that waits for the other's death, calls `on_death` and ends this process at once."""

    def follow() -> None:
        while not wait(other, 3_600):
            pass
        try:
            on_death()
        finally:
            os._exit(ORPHANED)

    threading.Thread(target=follow, name=f"watch {other}", daemon=True).start()


def die_with_parent(parent: int | None = None) -> None:
    """The kernel kills this process when the *thread* that made it ends; where `parent` is gone already, it leaves."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(ORPHANED)


def rename(title: str, *, keep_environment: bool = False) -> None:
    """What /proc shows as this process's command; its first environment is shown no more, unless it is kept, and the
    title cut where the first command ended.

    For a fork, which else goes by its parent's. Nothing may point into that memory any longer: os.environ is to be
    cleared afterwards, which drops the C library's pointers too.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    # arg_start to arg_end or env_end: both blocks lie side by side
    start, end = int(fields[45]), int(fields[46 if keep_environment else 48])
    # One string: the kernel shows no more than that of a title longer than the first command.
    words = title.encode()[: end - start - 1]
    ctypes.memmove(start, words.ljust(end - start, b"\0"), end - start)


def _stat(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", -1
