"""Runs from a warm trainer, as a node starts them, without the service: what they need of worker.warm is core.warm."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from core import processes, warm
from core.contract.run_spec import RunSpec
from core.processes import Process
from tests.launch import ROOT, Run
from tests.waiting import until

READY_SECONDS = 120.0
ANSWER_SECONDS = 10.0


def environment(threads: int = 1) -> dict[str, str]:
    """Ours; the trainer and its runs end with this process."""
    me = str(processes.this_process())
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PALATE_SUPERVISOR": me, "PALATE_LIFELINE": me}


@contextlib.contextmanager
def trainer(folder: Path, known: Mapping[str, str]) -> Iterator[Path]:
    """The socket of a warm trainer in that environment."""
    path, log = folder / "warm.sock", folder / "warm.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "trainer", "warm", "--socket", str(path)]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(known), stdout=output, stderr=output)

    def ready() -> bool:
        assert process.poll() is None, f"the warm trainer left: {log.read_text()[-1500:]}"
        try:
            with warm.connect(path, ANSWER_SECONDS) as link:
                warm.say(link, {"status": True})
                return bool(warm.hear(link))
        except warm.Refused:
            return False

    try:
        until(ready, "the warm trainer", READY_SECONDS)
        yield path
    finally:
        process.terminate()
        process.wait(30)


class Launcher:
    """As much of a subprocess.Popen as a Run needs."""

    def __init__(self, process: Process) -> None:
        self.process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return None if self.process.alive() else 0

    def wait(self, seconds: float) -> None:
        if not processes.wait(self.process, seconds):
            raise subprocess.TimeoutExpired("the launcher of a warm trainer", seconds)


class WarmRun(Run):
    """A Run of the trainer that listens at `path`. Raises Refused."""

    def __init__(self, path: Path, spec: RunSpec, known: Mapping[str, str]) -> None:
        self.path = path
        super().__init__(spec, environment=known)

    def begin(self, file: Path, program: tuple[str, ...], environment: Mapping[str, str]) -> Launcher:
        with (file.parent / "launcher.log").open("ab") as output, warm.connect(self.path, ANSWER_SECONDS) as link:
            asked = {"spec": str(file), "ranks": self.spec.world_size, "environment": dict(environment)}
            warm.send(link, asked, output.fileno())
            launcher = processes.parse(warm.hear(link)["launcher"])
            warm.say(link, {"go": True})
        return Launcher(launcher)
