"""Killing who runs a job, and the moments after it by the trainer's own clock: started again, back where it was."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core import processes
from core.contract.trainer_events import Step
from core.db.engine import transaction
from core.db.tables import Attempt
from core.processes import Process
from worker.follower import Follower
from worker.workspace import Workspace

LOOK_SECONDS = 0.02
DEADLINE_SECONDS = 240.0


@dataclass(frozen=True)
class Recovery:
    """Seconds after the kill; `steps` that were done again."""

    claimed: float
    first_step: float
    where_it_was: float
    steps: int


class Job:
    """A job's steps as its newest attempt writes them; `folders`: where the nodes' attempts of it lie."""

    def __init__(self, job_id: str, *scratches: Path) -> None:
        self.id = job_id
        self._folders = [scratch / "attempts" / job_id for scratch in scratches]
        self._followers: dict[int, Follower] = {}
        # (step, its time) of each attempt, in the order of the steps.
        self.steps: dict[int, list[tuple[int, float]]] = {}

    def look(self) -> None:
        for space in self.spaces():
            follower = self._followers.setdefault(epoch_of(space), Follower(space.events))
            found = self.steps.setdefault(epoch_of(space), [])
            found += [(event.step, event.time) for event in follower.read() if isinstance(event, Step)]

    def spaces(self) -> list[Workspace]:
        return [Workspace(path) for folder in self._folders for path in folder.glob("a*")]

    @property
    def epoch(self) -> int:
        return max((epoch for epoch, steps in self.steps.items() if steps), default=0)

    def space(self) -> Workspace:
        return next(space for space in self.spaces() if epoch_of(space) == self.epoch)

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} of {self.id} did not come within {DEADLINE_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
            self.look()

    def trains(self, steps: int) -> None:
        """Until the newest attempt has made so many steps."""
        self.until(lambda: len(self.steps.get(self.epoch, ())) >= steps, f"{steps} steps")

    def recovery(self, kill: Callable[[], None]) -> Recovery:
        """Kills, and waits for a step that was not made before."""
        self.look()
        killed_epoch = self.epoch
        kill()
        at = time.time()
        self.look()
        was = self.steps[killed_epoch][-1][0]
        self.until(lambda: self.epoch > killed_epoch and self.steps[self.epoch][-1][0] > was, "a new step")
        steps = self.steps[self.epoch]
        new = next(when for step, when in steps if step > was)
        with transaction() as session:
            claimed = session.get_one(Attempt, (self.id, killed_epoch + 1)).started_at.timestamp()
        return Recovery(claimed - at, steps[0][1] - at, new - at, was - steps[0][0] + 1)


def epoch_of(space: Workspace) -> int:
    return int(space.path.name.removeprefix("a"))


def a_rank(job: Job, which: int) -> Callable[[], None]:
    return job.space().ranks()[which].kill


def supervisor(job: Job) -> Callable[[], None]:
    found = processes.read(job.space().supervisor)
    if found is None:
        raise SystemExit("the supervisor has not signed in")
    return found.kill


def all_below(folder: Path) -> Callable[[], None]:
    """Every process that names the folder in its command or its environment: a whole node."""
    found: list[Process] = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (path / "cmdline").read_bytes() + (path / "environ").read_bytes():
                found.append(processes.of(int(path.name)))

    def kill() -> None:
        for process in found:
            process.kill()

    return kill
