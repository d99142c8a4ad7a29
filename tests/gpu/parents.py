"""Warm trainers as a worker asks them, without the worker: the GPU tests need no service."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import processes, warm
from tests.launch import PATIENCE, ROOT
from tests.waiting import until

IMPORT_SECONDS = 90.0
WARM = ("-m", "trainer", "warm")


@dataclass(frozen=True)
class Parent:
    socket: Path

    @property
    def lock(self) -> Path:
        """Who asks for a job shows that it can open it."""
        return self.socket.with_suffix(".lock")

    def status(self) -> dict[str, Any]:
        """Raises Refused, with the reason."""
        with warm.connect(self.socket, 10) as link:
            warm.say(link, {"status": True})
            return warm.hear(link)

    def run(self, spec: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """A job of one rank: its launcher's exit code, and what the launcher and the rank printed. Raises Refused."""
        log = spec.parent / "launcher.log"
        known = {**environment, "PALATE_SUPERVISOR": str(processes.this_process())}
        with warm.connect(self.socket, 10) as link, log.open("ab") as output, self.lock.open("rb") as lock:
            warm.send(link, {"spec": str(spec), "ranks": 1, "environment": known}, lock.fileno(), output.fileno())
            warm.hear(link)
            warm.say(link, {"go": True})
            link.settimeout(PATIENCE)
            code = int(warm.hear(link)["exit"])
        return code, log.read_text()


@contextlib.contextmanager
def serving(folder: Path, environment: Mapping[str, str], *program: str) -> Iterator[Parent]:
    """`program`: what Python runs, the warm trainer where none is named; `--socket` is added."""
    folder.mkdir(mode=0o700)
    path, log = folder / "s", folder / "log"
    known = {"OMP_NUM_THREADS": "1", **environment, "PALATE_LIFELINE": str(processes.this_process())}
    with log.open("ab") as output:
        command = [sys.executable, *(program or WARM), "--socket", str(path)]
        process = subprocess.Popen(command, cwd=ROOT, env=known, stdout=output, stderr=output)
    with process:
        try:
            until(lambda: path.exists() or process.poll() is not None, "the warm trainer", IMPORT_SECONDS)
            assert process.poll() is None, log.read_text()[-3_000:]
            yield Parent(path)
        finally:
            process.send_signal(signal.SIGTERM)


def environment(threads: int = 1) -> dict[str, str]:
    """Ours; the runs end with this process."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PALATE_SUPERVISOR": str(processes.this_process())}


def told(output: str) -> Any:
    """The last line, JSON."""
    return json.loads(output.splitlines()[-1])
