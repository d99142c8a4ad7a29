"""Kills at random moments, several jobs at once, until enough were made; then all must have ended well."""

import os
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import orphans
from core.contract.errors import Unavailable
from core.contract.states import TaskKind, TaskState
from core.db.engine import transaction
from core.db.tables import Job, Task
from core.objects.store import Store
from tests.conftest import forget
from tests.e2e.live import Live
from tests.storm import judge
from tests.storm.judge import Verdict
from tests.storm.user import StormUser
from tests.storm.victims import Victim, present

LOOK_SECONDS = 0.1
RECOVERY_SECONDS = 300.0
END_SECONDS = 400.0
SWEEP_SECONDS = 120.0
# Of the three losses that a Task may have, the storm takes no more than this many: the third is the user's to hear of.
TASK_LOSSES = 1
# So many more than in a real life that five deaths in a row without a commit are no sign of anything.
ENVIRONMENT = {"PALATE_INFRA_ATTEMPTS": "1000", "PALATE_BACKOFF_SECONDS": "1", "PALATE_RESUME_STEPS": "2"}
# At the time scale of a storm, ten seconds after an attempt.
ENVIRONMENT |= {"PALATE_ORPHAN_SECONDS": "100"}


@dataclass
class Storm:
    """`kinds`: bodies of jobs without their file. `gap`: seconds between two kills, at least and at most."""

    live: Live
    data: bytes
    kinds: list[dict[str, Any]]
    kills: int
    seed: int
    at_once: int
    gap: tuple[float, float]
    tell: Callable[[str], None] = print
    killed: Counter[str] = field(default_factory=Counter)
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wanted: dict[str, dict[str, str]] = field(default_factory=dict)
    waiting: list[tuple[Victim, float, int]] = field(default_factory=list)

    def run(self) -> Verdict:
        for name, value in self.live.parts.items():
            os.environ[name] = value
        forget()
        self.draw = random.Random(self.seed)
        self.user = StormUser(self.live.url, self.live.user.token)
        self.calm = [self.undisturbed(kind) for kind in self.kinds]
        self.began = time.monotonic()
        due = self.began
        while self.killed.total() < self.kills:
            self.keep_busy()
            self.look()
            if time.monotonic() >= due and self.strike():
                due = time.monotonic() + self.draw.uniform(*self.gap)
            time.sleep(LOOK_SECONDS)
        self.tell(f"{self.kills} kills made; now all {len(self.wanted)} jobs must end")
        self.until_all_ended()
        self.until_swept()
        return judge.judge(Store.from_settings(), self.wanted)

    def undisturbed(self, kind: dict[str, Any]) -> dict[str, str]:
        job_id = self.post(kind, "calm")
        self.wanted[job_id] = {}
        self.until_all_ended()
        self.wanted[job_id] = judge.weights(job_id)
        self.tell(f"undisturbed {job_id}: {len(self.wanted[job_id])} files")
        return self.wanted[job_id]

    def post(self, kind: dict[str, Any], name: str) -> str:
        file = self.user.upload(self.data)
        return self.user.create(f"{name} {self.seed} {len(self.wanted)}", {**kind, "training_file": file})

    def keep_busy(self) -> None:
        """One request at a time: the others' lives go on meanwhile."""
        with suppress(Unavailable):
            if len(self.open_jobs()) < self.at_once:
                which = len(self.wanted) % len(self.kinds)
                self.wanted[self.post(self.kinds[which], "storm")] = self.calm[which]

    def open_jobs(self) -> list[str]:
        with transaction() as session:
            found = session.query(Job.id).where(Job.id.in_(self.wanted), Job.finished_at.is_(None))
            return [row.id for row in found]

    def step(self, job_id: str) -> tuple[int, bool]:
        """(the last step that Postgres knows of, whether the job has ended)."""
        with transaction() as session:
            job = session.get_one(Job, job_id)
            return (job.progress or {}).get("step", 0), job.finished_at is not None

    def strike(self) -> bool:
        found = present(self.live.home, self.live.process.pid)
        if not self.may_lose_a_task():
            found.pop("validator", None)
        if not found:
            return False
        running = [component for component in ("rank", "supervisor") if component in found]
        victim = self.draw.choice(found[self.draw.choice([*sorted(found), *running * 3])])
        step = 0
        if victim.job_id is not None:
            try:
                step, _ = self.step(victim.job_id)
            except Unavailable:
                return False
        if not victim.kill():
            return False
        self.killed[victim.component] += 1
        self.waiting.append((victim, time.monotonic(), step))
        self.tell(f"{self.killed.total():4d} of {self.kills}  {victim.component:10}  {victim.job_id or ''}")
        return True

    def may_lose_a_task(self) -> bool:
        try:
            with transaction() as session:
                return not session.query(Task.id).where(Task.losses >= TASK_LOSSES, Task.state != "done").first()
        except Unavailable:
            return False

    def look(self) -> None:
        """Which of those that were hit are well again."""
        for each in list(self.waiting):
            victim, when, step = each
            try:
                well = self.well(victim, step)
            except Unavailable:
                well = False
            after = time.monotonic() - when
            assert after < RECOVERY_SECONDS, f"{victim} was not well again after {after:.0f} s"
            if well:
                self.waiting.remove(each)
                self.recovered[victim.component].append(after)

    def well(self, victim: Victim, step: int) -> bool:
        """A job is well with its next new step, a part with another process of its kind in its place."""
        if victim.job_id is not None:
            now, ended = self.step(victim.job_id)
            return ended or now > step
        if victim.component == "validator":
            return True
        return any(each.pid != victim.pid for each in present(self.live.home, self.live.process.pid)[victim.component])

    def until_all_ended(self) -> None:
        deadline = time.monotonic() + END_SECONDS
        while True:
            self.look()
            with suppress(Unavailable):
                if not self.open_jobs() and not self.waiting:
                    return
            assert time.monotonic() < deadline, f"these never ended: {self.open_jobs()}"
            time.sleep(LOOK_SECONDS)

    def until_swept(self) -> None:
        """Everything that is to be removed from the store has had its time; what is left then, the judge finds."""
        deadline = time.monotonic() + SWEEP_SECONDS
        store = Store.from_settings()
        while time.monotonic() < deadline:
            with suppress(Unavailable), transaction() as session:
                waits = session.query(Task.id).where(
                    Task.kind == TaskKind.COLLECT_ORPHANS, Task.state != TaskState.DONE
                )
                if not waits.first() and not orphans.find(session, store):
                    break
            time.sleep(LOOK_SECONDS * 10)
        store.close()

    def report(self, verdict: Verdict) -> list[str]:
        lines = [
            f"seed {self.seed}, {time.monotonic() - self.began:.0f} s, {verdict.attempts} attempts, answers by status "
            f"{dict(sorted(self.user.answers.items()))}",
            "| component | kills | well again after, p50 s | p99 | most |",
            "|---|--:|--:|--:|--:|",
        ]
        for component, count in sorted(self.killed.items()):
            times = sorted(self.recovered[component]) or [0.0]
            p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
            lines.append(f"| {component} | {count} | {statistics.median(times):.1f} | {p99:.1f} | {times[-1]:.1f} |")
        for name in ("lost", "doubled", "different", "broken", "orphans"):
            lines += [f"{name}: {each}" for each in getattr(verdict, name)]
        word = "GOOD" if verdict.good else "BAD"
        return [
            *lines,
            f"{word}: {self.killed.total()} kills, {verdict.jobs} jobs: {len(verdict.lost)} lost, "
            f"{len(verdict.doubled)} doubled effects, {len(verdict.different)} with other weights than undisturbed, "
            f"{len(verdict.broken)} broken rows or objects, {len(verdict.orphans)} objects without a row.",
        ]


def scripted(root: Path) -> dict[str, str]:
    return {"PALATE_TRAINER_COMMAND": f"{{python}} {root}/tests/scripted_trainer.py --spec {{spec}}"}
