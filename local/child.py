"""One child process of ours: it cannot outlive us, its output goes to a file, and it is stopped with a deadline."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from core import processes
from core.contract.errors import PalateError

LOG_LIMIT_BYTES = 16 << 20
PRIVATE = 0o077


class PartFailed(PalateError):
    """A part of the embedded stack did not start or ended by itself; the message carries the end of its log."""

    code = "part_failed"


@dataclass
class Child:
    """A command with its environment and log; `owner` is a (uid, gid) to run as, where we are root; `folder` the one to
    run in. What it writes, only its owner reads."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 5.0
    owner: tuple[int, int] | None = None
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """From the main thread only: the kernel kills the child when the *thread* that made it ends."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are started from the main thread")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=self.folder,
                umask=PRIVATE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(processes.die_with_parent, os.getpid()),
                user=self.owner[0] if self.owner else None,
                group=self.owner[1] if self.owner else None,
                extra_groups=[] if self.owner else None,
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.alive:
            self._send(self.stop_signal)

    def stop(self, grace: float | None = None) -> None:
        """Ask, wait for `grace` seconds, then kill; returns when the process is gone."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(self.grace if grace is None else grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self._send(signal.SIGKILL)
            self.process.wait()

    def failure(self) -> PartFailed:
        code = self.process.returncode if self.process else None
        how = "did not become ready in time" if code is None else f"ended with exit code {code}"
        return PartFailed(f"{self.name} {how}; the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, size: int = 2_000) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - size))
            return log.read().decode(errors="replace")
        return ""

    def _send(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
