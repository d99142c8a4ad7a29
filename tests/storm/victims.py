"""Whom the storm may kill at this moment, by component."""

import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from core import processes
from tests.e2e.live import processes_of
from worker.workspace import Workspace

CHILDREN = {
    "api": "-m api",
    "postgres": "/postgres ",
    "valkey": "valkey-server",
    "store": "/weed ",
    "celery": "celery -A worker",
}
VALIDATOR = ("worker.task", "worker.validate", "trainer.inspect", "trainer inspect")


@dataclass(frozen=True)
class Victim:
    component: str
    pid: int
    job_id: str | None = None

    def kill(self) -> bool:
        """False when it was gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def present(home: Path, keeper: int) -> dict[str, list[Victim]]:
    """`keeper`: the pid of `palate up`, whose own children the parts are."""
    found: dict[str, list[Victim]] = defaultdict(list)
    for pid, command in processes_of(home).items():
        for component, words in CHILDREN.items():
            if words in command and parent(pid) == keeper:
                found[component].append(Victim(component, pid))
        if any(words in command for words in VALIDATOR):
            found["validator"].append(Victim("validator", pid))
    for path in (home / "scratch" / "attempts").glob("*/a*"):
        space, job_id = Workspace(path), path.parent.name
        # Ranks first: who has none does not train yet, and its supervisor is killed as often as another's.
        for process in space.ranks().values():
            if process.alive():
                found["rank"].append(Victim("rank", process.pid, job_id))
        supervisor = space_supervisor(space)
        if supervisor is not None:
            found["supervisor"].append(Victim("supervisor", supervisor, job_id))
    return found


def space_supervisor(space: Workspace) -> int | None:
    found = processes.read(space.supervisor)
    return found.pid if found is not None and found.alive() else None


def parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
