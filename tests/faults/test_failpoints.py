"""A kill in every gap between two durable actions: the service goes on by itself, to the same rows, bytes, weights."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func

from core.contract.states import JobState, TaskState
from core.db import files
from core.db.engine import configure, transaction
from core.db.tables import Event, File, Job, Task
from core.objects.store import Store
from tests.conftest import ROOT, forget
from tests.e2e.live import Live, triples
from tests.faults.conftest import assert_whole
from tests.faults.failpoints import READS, function_of, life
from tests.integration.worker.test_attempts import chain
from tests.launch import alone
from tests.models import make_tiny_model
from tests.storm import judge
from tests.storm.storm import ENVIRONMENT, scripted
from tests.storm.user import StormUser
from tests.unit.test_house_rules import sources
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("ranks")
POINTS = sorted(life(sources()))
# At once armed: so few that no task is lost three times, which its user would hear of.
AT_ONCE = 4
GROUPS = [POINTS[n :: -(-len(POINTS) // AT_ONCE)] for n in range(-(-len(POINTS) // AT_ONCE))]


class Lives:
    """The whole service with its failpoints in a folder, and a user who lives one life after the other on it."""

    def __init__(self, folder: Path) -> None:
        self.points = folder / "points"
        self.points.mkdir()
        more = {**ENVIRONMENT, **scripted(ROOT), "PALATE_FAILPOINTS": str(self.points), "PALATE_TIME_SCALE": "0.1"}
        self.live = Live(folder / "home", **more)
        self.model = make_tiny_model(folder / "model")
        self.count = 0
        self.steps: dict[str, int] = {}
        self.jobs: set[str] = set()

    def start(self) -> None:
        self.live.start()
        self.live.palate("models", "add", "tiny", str(self.model))
        self.user = StormUser(self.live.url, self.live.user.token)

    def passed(self) -> set[str]:
        return {path.name for path in self.points.iterdir() if "#" not in path.name}

    def arm(self, names: list[str]) -> None:
        for name in names:
            (self.points / f"{name}#1").touch()

    def killed(self, name: str) -> bool:
        return (self.points / f"{name}#killed").exists()

    def live_once(self) -> None:
        """Every life has data of its own, so that nothing of an earlier one spares it the work."""
        self.count += 1
        file = self.user.upload(triples(40, seed=self.count))
        job = self.create("finish", file, steps=6)
        paused = self.create("pause", file, steps=2_000)  # longer than a killed API is away
        self.stepped(paused)
        self.post(paused, "pause")
        self.until(paused, JobState.PAUSED)
        self.post(paused, "resume")
        self.stepped(paused)
        self.post(paused, "cancel")
        self.until(paused, JobState.CANCELLED)
        self.until(job, JobState.SUCCEEDED)
        self.steps[job] = 6
        self.delete(f"/models/{self.row(job).fine_tuned_model}:ckpt-step-6")
        self.delete(f"/files/{file}")

    def create(self, name: str, file: str, **script: Any) -> str:
        settings = {"batch_size": 8, "n_epochs": 50, "max_steps": script["steps"], "learning_rate": 1e-4}
        body = {
            "model": "tiny",
            "seed": 1,
            "training_file": file,
            "method": {"type": "dpo", "dpo": {"hyperparameters": settings}},
            "palate": {"probe_prompts": [json.dumps({"step_seconds": 0.15, **script})]},
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

    def row(self, job_id: str) -> Job:
        with transaction() as session:
            return session.get_one(Job, job_id)

    def stepped(self, job_id: str) -> None:
        def running() -> bool:
            row = self.row(job_id)
            assert JobState(row.state) not in (JobState.FAILED, JobState.SUCCEEDED), row.error
            return row.state == JobState.RUNNING and (row.progress or {}).get("step", 0) >= 1

        until(running, f"a step of {job_id}", 120)

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
            assert sorted(row.job_id for row in completed) == sorted(self.steps)
            assert len(self.steps) * 2 == session.query(File).where(File.purpose == files.RESULTS).count()
            jobs = {row.id for row in session.query(Job.id)}
        assert jobs == self.jobs, "each request made one job"
        assert_whole(Store.from_settings())


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    made = Lives(tmp_path_factory.mktemp("failpoints"))
    before = dict(os.environ)
    with alone():
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


@pytest.mark.timeout(300)
def test_an_undisturbed_life_passes_every_point_of_the_catalogue(lives: Lives) -> None:
    lives.live_once()

    def missing() -> set[str]:
        return set(POINTS) - lives.passed()

    try:
        until(lambda: not missing(), "every point", 60)
    except AssertionError as error:
        raise AssertionError(f"dead entries: {sorted(missing())}") from error
    assert {each for each in lives.passed() if function_of(each) in READS} == set(), "these write"


# One of the API, one of a Task, one of the supervisor, one of the worker: in make test; all of them in make slow.
FEW = ["api.intake:_commit:committed", "worker.validate_task:record:committing", "worker.claim:claim_attempt:committed"]
FEW += ["worker.publisher:commit_resume_point:committing"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names", [FEW, *(pytest.param(names, marks=pytest.mark.slow, id=names[0]) for names in GROUPS)]
)
def test_a_kill_at_each_point_changes_nothing_in_the_end(lives: Lives, names: list[str]) -> None:
    lives.arm(names)
    lives.live_once()
    try:
        until(lambda: all(lives.killed(name) for name in names), "every kill", 60)
    except AssertionError as error:
        raise AssertionError(f"not reached: {[name for name in names if not lives.killed(name)]}") from error
    until(lives.quiet, "the end of every task", 90)
    lives.assert_whole()
