"""`palate up` as a child of the demo: started, watched, stopped, and looked after until no process is left."""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

PALATE = (sys.executable, "-m", "cli.main")
MARK = "PALATE_DEMO_RUN"
READY_SECONDS = 150.0
STOP_SECONDS = 90.0
LEFT_SECONDS = 10.0
LOOK_SECONDS = 0.1
PR_SET_PDEATHSIG = 1


class DemoFailed(Exception):
    """One clear sentence, and the log whose end says more."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log


class Stack:
    """The service on one home. Every process that comes of it inherits a mark, by which leftovers are found."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.log = self.home / "demo" / "up.log"
        self.mark = secrets.token_hex(8)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """From the main thread: the child is told to stop when this thread ends, however it ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [*PALATE, "up", "--home", str(self.home)],
                env={**os.environ, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_stop_with(os.getpid()) if sys.platform == "linux" else None,
            )

    def check(self) -> None:
        """Raises as soon as the service has ended by itself."""
        if self.child is not None and (code := self.child.poll()) is not None:
            raise DemoFailed(f"`palate up` ended by itself (exit code {code}).", self.log)

    def wait_until_ready(self) -> tuple[str, str]:
        """(base URL ending in /v1, API key), when the service answers that it can do work."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError, ValueError, KeyError, httpx.TransportError):
                found = json.loads((self.home / "connection.json").read_text())
                url = str(found["base_url"]).removesuffix("/").removesuffix("/v1")
                if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200:
                    return f"{url}/v1", str(found["api_key"])
            time.sleep(LOOK_SECONDS)
        raise DemoFailed(f"The service was not ready after {READY_SECONDS:.0f} s.", self.log)

    def command(self, *words: str) -> str:
        """Another `palate` command on this home, run to its end: what it printed."""
        # A database named in the shell would be another deployment's.
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        command = [*PALATE, *words, "--home", str(self.home)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise DemoFailed(f"`palate {' '.join(words[:2])}` failed: {said}", self.log)
        return done.stdout

    def stop(self) -> list[int]:
        """Stops everything, in order; the pids that had to be killed because they were still there afterwards."""
        if self.child is None:
            return []
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.child = None
        return left

    def left(self) -> list[int]:
        """Processes with our mark in their environment (Linux; elsewhere none can be seen)."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found


def tail(log: Path | None, lines: int = 15) -> list[str]:
    if log is None or not log.is_file():
        return []
    return log.read_text(errors="replace").splitlines()[-lines:]


def _stop_with(parent: int) -> Callable[[], None]:
    """For the child, before it becomes the command: SIGTERM when the demo ends, however that happens."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
