"""A user's life on the whole service with the scripted trainer, and what is true after it, whoever was killed."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func

from cli import orphans
from core.contract.states import JobState, TaskState
from core.db import files
from core.db.engine import configure, transaction
from core.db.tables import Event, File, Job, Task
from core.objects.store import Store
from tests.conftest import ROOT, forget
from tests.e2e.live import Live, triples
from tests.faults.conftest import assert_whole
from tests.integration.worker.test_attempts import chain
from tests.models import make_tiny_model
from tests.storm import judge
from tests.storm.storm import ENVIRONMENT, scripted
from tests.storm.user import StormUser
from tests.waiting import until

# A cache that keeps only what is in use, an intake that is seen with every part: so each life passes these too.
SETTINGS = {
    **ENVIRONMENT,
    **scripted(ROOT),
    "PALATE_TIME_SCALE": "0.1",
    "PALATE_CACHE_BYTES": "1",
    "PALATE_INTAKE_SEEN_SECONDS": "0",
}


class Lives:
    """The whole service with its failpoints in a folder, and a user who lives one life after the other on it.

    steps: of each job that succeeded. forgotten: those whose events have been dropped.
    """

    def __init__(self, folder: Path) -> None:
        self.points = folder / "points"
        self.points.mkdir()
        self.live = Live(folder / "home", **SETTINGS, PALATE_FAILPOINTS=str(self.points))
        self.model = make_tiny_model(folder / "model")
        self.count = 0
        self.steps: dict[str, int] = {}
        self.jobs: set[str] = set()
        self.forgotten: set[str] = set()

    def start(self) -> None:
        self.live.start()
        self.live.palate("models", "add", "tiny", str(self.model))
        self.user = StormUser(self.live.url, self.live.user.token)
        self.live.user.judged(self.upload())  # one file that nobody deletes

    def passed(self) -> set[str]:
        return {path.name for path in self.points.iterdir() if "#" not in path.name}

    def arm(self, names: Iterable[str]) -> None:
        for name in names:
            (self.points / f"{name}#1").touch()

    def killed(self, *names: str) -> bool:
        return all((self.points / f"{name}#killed").exists() for name in names)

    def until_killed(self, *names: str, seconds: float = 90) -> None:
        try:
            until(lambda: self.killed(*names), "every kill", seconds)
        except AssertionError as error:
            raise AssertionError(f"not reached: {[name for name in names if not self.killed(name)]}") from error

    def until_calm(self) -> None:
        """Every task is done, and nothing is left in the store that no row names."""
        until(self.quiet, "the end of every task", 120)
        until(lambda: not self.orphans(), "the last orphan to go", 90, every=0.5)

    def orphans(self) -> list[str]:
        store = Store.from_settings()
        try:
            with transaction() as session:
                return orphans.find(session, store)
        finally:
            store.close()

    def live_once(self) -> None:
        """Every life has data of its own, so that nothing of an earlier one spares it the work, and a file that may go
        from the node's cache."""
        cached = self.live.home / "cache" / "canonical"
        cached.mkdir(parents=True, exist_ok=True)
        (cached / f"of-life-{self.count}").touch()
        file = self.upload()
        job = self.create("finish", file, steps=6)
        paused = self.create("pause", file, steps=2_000)  # longer than a killed API is away
        self.stepped(paused)
        self.post(paused, "pause")
        self.until(paused, JobState.PAUSED)
        before = (self.row(paused).progress or {})["step"]
        self.post(paused, "resume")
        self.stepped(paused, before)
        self.post(paused, "cancel")
        self.until(paused, JobState.CANCELLED)
        self.succeeded(job, 6)
        self.delete(f"/models/{self.row(job).fine_tuned_model}:ckpt-step-6")
        self.delete(f"/files/{file}")

    def upload(self) -> str:
        """Data that no earlier file has."""
        self.count += 1
        return self.user.upload(triples(40, seed=self.count))

    def succeeded(self, job_id: str, steps: int) -> None:
        self.until(job_id, JobState.SUCCEEDED)
        self.steps[job_id] = steps

    def create(self, name: str, file: str, gpus: int = 1, **script: Any) -> str:
        settings = {"batch_size": 8, "n_epochs": 50, "max_steps": script["steps"], "learning_rate": 1e-4}
        body = {
            "model": "tiny",
            "seed": 1,
            "training_file": file,
            "method": {"type": "dpo", "dpo": {"hyperparameters": settings}},
            "palate": {
                "resources": {"gpus": gpus},
                "probe_prompts": [json.dumps({"step_seconds": 0.15, **script})],
            },
        }
        job_id = self.user.create(f"{name} {self.count}", body)
        self.jobs.add(job_id)
        return job_id

    def post(self, job_id: str, verb: str) -> None:
        """Again where the answer was lost: what is wished already is told as a conflict."""

        def send() -> Any:
            answer = self.user.http.post(f"/fine_tuning/jobs/{job_id}/{verb}")
            return self.user.http.get(f"/fine_tuning/jobs/{job_id}") if answer.status_code == 409 else answer

        self.user.surely(send)

    def delete(self, path: str) -> None:
        def send() -> Any:
            answer = self.user.http.delete(path)
            return self.user.http.get("/models") if answer.status_code == 404 else answer

        self.user.surely(send)

    def surely_answered(self) -> None:
        """Returns when there is an API again."""
        self.user.surely(lambda: self.user.http.get("/models"))

    def row(self, job_id: str) -> Job:
        with transaction() as session:
            return session.get_one(Job, job_id)

    def stepped(self, job_id: str, beyond: int = 0) -> None:
        def running() -> bool:
            row = self.row(job_id)
            assert JobState(row.state) not in (JobState.FAILED, JobState.SUCCEEDED), row.error
            return row.state == JobState.RUNNING and (row.progress or {}).get("step", 0) > beyond

        until(running, f"a step of {job_id} beyond {beyond}", 120)

    def until(self, job_id: str, state: JobState) -> None:
        def there() -> bool:
            row = self.row(job_id)
            assert row.state == state or JobState(row.state) != JobState.FAILED, row.error
            return row.state == state

        until(there, f"{job_id} to be {state}", 120)

    def quiet(self) -> bool:
        """No task is left but what waits for a far hour, and none failed."""
        with transaction() as session:
            assert not session.query(Task.subject).where(Task.state == TaskState.FAILED).all()
            soon = Task.run_after < func.now() + timedelta(minutes=1)
            return not session.query(Task.id).where(Task.state != TaskState.DONE, soon).first()

    def assert_whole(self) -> None:
        """Weights as the scripted chain says, every invariant, every promised object byte for byte."""
        for job_id, steps in self.steps.items():
            row = self.row(job_id)
            expected = hashlib.sha256(chain(row.training_digest or "", steps)).hexdigest()
            assert judge.weights(job_id)["model.safetensors"] == expected
        with transaction() as session:
            completed = session.query(Event.job_id).where(Event.message == judge.DONE).all()
            told, due = sorted(row.job_id for row in completed), sorted(set(self.steps) - self.forgotten)
            assert told == due, f"completed: {told}, of {due}"
            assert len(self.steps) * 2 == session.query(File).where(File.purpose == files.RESULTS).count()
            jobs = {row.id for row in session.query(Job.id)}
        assert jobs == self.jobs, "each request made one job"
        store = Store.from_settings()
        assert_whole(store, ["files/", "canonical/", "models/", *(["jobs/"] if self.steps else [])])
        store.close()


@contextmanager
def living(folder: Path) -> Iterator[Lives]:
    """This process reads and writes the rows and objects of that service."""
    made = Lives(folder)
    before = dict(os.environ)
    made.start()
    os.environ.update(made.live.parts)
    forget()
    configure(None)
    try:
        yield made
    finally:
        configure(None)
        os.environ.clear()
        os.environ.update(before)
        forget()
        made.user.http.close()
        made.live.stop()
