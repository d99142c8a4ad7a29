"""Whoever runs a job may be killed: it goes on by itself and ends with the undisturbed run's weights, bit for bit."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import processes
from core.processes import Process
from tests.e2e.live import Live, processes_of, triples
from tests.launch import alone
from tests.models import make_tiny_model
from tests.waiting import until
from worker.workspace import Workspace

pytestmark = pytest.mark.xdist_group("ranks")
STEPS = 60
SETTINGS = {"batch_size": 8, "n_epochs": 50, "max_steps": STEPS, "learning_rate": 1e-4}
# Of ranks whose supervisor is dead; of those that a supervisor stops, for one of them is dead.
GONE_SECONDS, STOPPED_SECONDS = 5.0, 10.0


@pytest.fixture(params=["warm", pytest.param("cold", marks=pytest.mark.slow)])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    """A resume point every five steps; the ranks are started by either launcher."""
    made = Live(tmp_path / "home", PALATE_RESUME_STEPS="5", PALATE_LAUNCHER=request.param)
    with alone():
        made.start()
        made.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
        try:
            yield made
        finally:
            made.stop()


def test_a_job_survives_the_death_of_each_that_runs_it(live: Live) -> None:
    file = live.user.upload(triples(80))
    live.user.judged(file)
    undisturbed = live.user.create("tiny", file, 2, **SETTINGS)
    live.user.succeeded(undisturbed)

    job = live.user.create("tiny", file, 2, **SETTINGS)
    found = after_resume_point(live, job, attempt=1)
    found[1].kill()
    all_gone(found, STOPPED_SECONDS)

    found = after_resume_point(live, job, attempt=2)
    supervisor = processes.read(Workspace(live.attempts(job) / "a2").supervisor)
    assert supervisor is not None
    supervisor.kill()
    all_gone(found, GONE_SECONDS)

    after_resume_point(live, job, attempt=3)
    step = live.user.step(job)
    os.kill(process(live, "celery -A worker"), signal.SIGKILL)  # `palate up` starts it again; the training goes on
    until(lambda: live.user.step(job) > step, "training to go on", 30)
    before = live.user.job(job)
    assert (before["status"], before["palate"]["attempt"]["number"]) == ("running", 3)

    live.user.close()
    live.process.kill()
    live.process.wait()
    until(lambda: not processes_of(live.home), "the end of every process of this home", GONE_SECONDS)

    live.start()
    done = live.user.succeeded(job)
    assert done["palate"]["attempt"]["number"] == 4, live.user.messages(job)
    assert done["palate"]["attempt"]["resumed_from_step"] >= 5
    assert live.user.weights(job) == live.user.weights(undisturbed)
    said = live.user.messages(job)
    assert sum("was interrupted" in message for message in said) == 3, said
    shown = live.user.http.get(f"/fine_tuning/jobs/{job}/metrics").json()["step"]
    assert shown == list(range(1, STEPS + 1)), "each step once, without a gap"
    live.palate("doctor", "--read")


def after_resume_point(live: Live, job: str, attempt: int, steps: int = STEPS) -> list[Process]:
    """The launcher and the ranks, once this attempt of a run of so many steps has left a resume point and trains on."""

    def look() -> bool:
        shown = live.user.job(job)["palate"]
        if not shown["attempt"] or shown["attempt"]["number"] != attempt:
            return False
        began = shown["attempt"]["resumed_from_step"]
        return began is not None and (shown["progress"]["step"] or 0) >= began + 7

    until(look, f"a resume point of attempt {attempt}", 90)
    assert live.user.step(job) < steps, "too quick to be killed in the middle"
    found = Workspace(live.attempts(job) / f"a{attempt}").processes()
    assert len(found) == 3, found
    cold = "\0launch\0" in Path(f"/proc/{found[0].pid}/cmdline").read_text()
    assert cold == (live.environment["PALATE_LAUNCHER"] == "cold")
    return found


def process(live: Live, words: str) -> int:
    return next(pid for pid, command in processes_of(live.home).items() if words in command)


def all_gone(found: list[Process], seconds: float) -> None:
    until(lambda: not any(process.alive() for process in found), "the ranks' end", seconds)
