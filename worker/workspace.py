"""The folder of one attempt on this node, fenced by its name: SCRATCH/attempts/JOB/aEPOCH."""

import logging
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from core import processes, settings
from core.db.attempts import Lease
from core.processes import Process

PRIVATE = 0o077
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "run.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def stored(self) -> Path:
        return self.path / "stored"

    @property
    def supervisor(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def launcher(self) -> Path:
        return self.path / "launcher.json"

    def log(self, rank: int) -> Path:
        return self.path / "logs" / f"rank-{rank}.log"

    def processes(self) -> list[Process]:
        """Those of the training that live: the launcher first, so that it starts nothing more."""
        launcher = processes.read(self.launcher)
        return [*([launcher] if launcher and self.holds(launcher) else []), *self.ranks().values()]

    def ranks(self) -> dict[int, Process]:
        """Those that have signed in and live, by number."""
        return {rank: found for rank, found in self.signed().items() if self.holds(found)}

    def holds(self, process: Process) -> bool:
        """A trainer may sign for others: only who is at work in this very folder is one of its processes."""
        return Path(process.folder()).is_relative_to(os.path.realpath(self.path))

    def signed(self) -> dict[int, Process]:
        """As the ranks, or who stands in for them, have written it."""
        named = {}
        for path in sorted((self.path / "ranks").glob("*.json")):
            if path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 6:
                named[int(path.stem)] = processes.read(path)
        return {rank: process for rank, process in named.items() if process is not None}

    def dump_stacks(self, patience: float = 2.0) -> None:
        """Every rank that still can writes where it is into its log (trainer.rank registers SIGUSR1 for that)."""
        sizes = {rank: size(self.log(rank)) for rank in self.ranks()}
        for process in self.ranks().values():
            process.send(signal.SIGUSR1)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(size(self.log(rank)) == before for rank, before in sizes.items()):
            time.sleep(0.05)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def close_to_others() -> None:
    """Scratch and cache hold tenants' records and models: this process and what it starts write for their owner alone,
    also below a folder that was there before.
    """
    os.umask(PRIVATE)
    for folder in (settings.worker().scratch, settings.worker().cache):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)
        else:
            log.warning("%s belongs to another user, so its mode stays; what is written below it is closed", folder)


def root() -> Path:
    return settings.worker().scratch / "attempts"


def of(lease: Lease) -> Workspace:
    return Workspace(root() / lease.job_id / f"a{lease.epoch}")


def make(lease: Lease) -> Workspace:
    space = of(lease)
    (space.path / "ranks").mkdir(parents=True, exist_ok=True)
    (space.path / "logs").mkdir(exist_ok=True)
    return space


def of_task(task_id: str, epoch: int) -> Path:
    return settings.worker().scratch / "tasks" / f"{task_id}-{epoch}"


def remove_tasks_but(running: set[Path]) -> None:
    """What tasks left whose process was killed."""
    for folder in (settings.worker().scratch / "tasks").glob("*"):
        if folder not in running:
            shutil.rmtree(folder, ignore_errors=True)


def all_here() -> list[tuple[str, int, Workspace]]:
    """(job id, epoch, workspace) of everything on this node's disk."""
    return [
        (path.parent.name, int(path.name[1:]), Workspace(path))
        for path in sorted(root().glob("*/a*"))
        if path.name[1:].isdigit()
    ]
