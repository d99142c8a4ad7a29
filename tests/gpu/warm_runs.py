"""Runs from a warm trainer, as a node starts them (tests.gpu.parents)."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from core import processes, warm
from core.contract.run_spec import RunSpec
from core.processes import Process
from tests.gpu.parents import Parent
from tests.launch import Run

ANSWER_SECONDS = 10.0


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
    """Raises Refused."""

    def __init__(self, parent: Parent, spec: RunSpec, known: Mapping[str, str]) -> None:
        self.parent = parent
        super().__init__(spec, environment=known)

    def begin(self, file: Path, program: tuple[str, ...], environment: Mapping[str, str]) -> Launcher:
        with (
            (file.parent / "launcher.log").open("ab") as output,
            self.parent.lock.open("rb") as lock,
            warm.connect(self.parent.socket, ANSWER_SECONDS) as link,
        ):
            asked = {"spec": str(file), "ranks": self.spec.world_size, "environment": dict(environment)}
            warm.send(link, asked, lock.fileno(), output.fileno())
            launcher = processes.parse(warm.hear(link)["launcher"])
            warm.say(link, {"go": True})
        return Launcher(launcher)
