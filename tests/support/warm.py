"""Many runs one after the other on a warm trainer of one's own: real ranks, and nothing imported twice."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core import processes, settings, warm
from core.contract.run_spec import RunSpec
from local import dependents
from tests.conftest import forget
from tests.waiting import until
from worker import launcher
from worker import warm as asking
from worker.workspace import Workspace

READY_SECONDS = 60.0
RUN_SECONDS = 280.0


@dataclass(frozen=True)
class Ended:
    """A run that is over: rank 0's exit code, its events."""

    code: int
    events: list[dict[str, Any]]
    logs: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def reason(self) -> str:
        """Why it failed: its code and message, else the end of its logs."""
        failed = self.of("failed")
        return f"{failed[0]['code']}: {failed[0]['message']}" if failed else self.logs[-2_000:]


@contextmanager
def node(scratch: Path) -> Iterator[None]:
    """A warm trainer under `scratch`, of this process's settings until the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALATE_SCRATCH", str(scratch))
        patch.setenv("PALATE_LAUNCHER", "warm")
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        patch.setenv("PALATE_LIFELINE", str(processes.this_process()))
        forget()
        launcher.warm_up()
        until(ready, "the warm trainer", READY_SECONDS)
        try:
            yield
        finally:
            found = [processes.of(pid) for pid in dependents.carrying(str(processes.this_process()))]
            for process in found:
                process.send(signal.SIGTERM)
            until(lambda: not any(process.alive() for process in found), "the end of the warm trainer", 10)
    forget()


def ready() -> bool:
    try:
        asking.status(launcher.environment(settings.worker().scratch))
    except warm.Refused:
        return False
    return True


def run(spec: RunSpec, seconds: float = RUN_SECONDS) -> Ended:
    """To its end, on the node of the block around it."""
    space = Workspace(spec.workspace)
    for folder in ("ranks", "logs"):
        (space.path / folder).mkdir(parents=True)
    space.spec.write_text(spec.model_dump_json())
    known = launcher.environment(space.path)
    until(ready, "the warm trainer", READY_SECONDS)  # after many jobs it begins anew
    process = asking.launch(space.spec, spec.world_size, known, space.launcher, space.path / "logs" / "launcher.log")
    try:
        process.wait(seconds)
    finally:
        launcher.end(space, process)
    logs = "\n".join(path.read_text(errors="replace") for path in sorted((space.path / "logs").glob("*.log")))
    told = space.path / "ranks" / "0.exit"
    lines = (space.path / "events.jsonl").read_text().splitlines() if (space.path / "events.jsonl").exists() else []
    return Ended(int(told.read_text()) if told.exists() else -1, [json.loads(line) for line in lines], logs)
