"""A rank stands still (SIGSTOP): the run is ended, classified, and goes on; both launchers with the real trainer."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import processes
from core.contract.states import JobState
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.processes import Process
from core.queue import ring
from tests.e2e.live import Live, triples
from tests.faults.conftest import StartWorker, assert_whole, said
from tests.faults.test_killed_training import SETTINGS, after_resume_point
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.launch import alone
from tests.models import make_tiny_model
from tests.waiting import until
from worker import workspace
from worker.workspace import Workspace

STEPS = 480
LONG = {**SETTINGS, "max_steps": STEPS}
WORDS = "nothing was heard of the run for"


def test_a_rank_that_stands_still(started: StartWorker, submit: Submit, store: Store) -> None:
    """Silence of 20 s is 2 s at this scale."""
    started(PALATE_HANG_SECONDS="20")
    job_id = submit(steps=16, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    ranks = workspace.of(Lease(job_id, 1, "")).ranks()
    ranks[0].send(signal.SIGSTOP)
    assert finished(job_id) == JobState.SUCCEEDED
    assert not any(rank.alive() for rank in ranks.values())
    with transaction() as session:
        first, second = (session.get_one(Attempt, (job_id, epoch)) for epoch in (1, 2))
    assert (first.outcome, first.failure_class) == ("failed", "infra")
    assert (second.resumed_from_step or 0) >= 2
    assert any(WORDS in message for message in said(job_id))
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 16)
    assert_whole(store)


@pytest.fixture(params=["warm", "cold"])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    """A resume point every five steps; 8 s of silence are a hang, 15 s while a checkpoint is written; leases of 6 s,
    shorter than the rest of the run."""
    more = {"PALATE_RESUME_STEPS": "5", "PALATE_LAUNCHER": request.param, "PALATE_TIME_SCALE": "0.1"}
    made = Live(tmp_path / "home", PALATE_HANG_SECONDS="80", PALATE_HANG_BETWEEN_SECONDS="150", **more)
    with alone():
        made.start()
        made.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("ranks")
def test_a_real_rank_that_stands_still_and_a_real_zombie(live: Live) -> None:
    """First either rank is stopped, then the supervisor, until its lease is over, and is continued then."""
    file = live.user.upload(triples(80))
    live.user.judged(file)
    undisturbed = live.user.create("tiny", file, 2, **LONG)
    live.user.succeeded(undisturbed, 240)
    job = live.user.create("tiny", file, 2, **LONG)
    for attempt, rank in ((1, 0), (2, 1)):
        found = after_resume_point(live, job, attempt, STEPS)
        found[1 + rank].send(signal.SIGSTOP)
        until(lambda them=found: not any(each.alive() for each in them), "the end of all three", 60)
    found = after_resume_point(live, job, 3, STEPS)
    supervisor = supervisor_of(live, job, 3)
    os.kill(supervisor.pid, signal.SIGSTOP)
    until(lambda: not any(each.alive() for each in found), "the ranks to die while it sleeps", 60)
    assert supervisor.alive()
    os.kill(supervisor.pid, signal.SIGCONT)
    until(lambda: not supervisor.alive(), "the zombie to leave", 30)
    done = live.user.succeeded(job, 240)
    messages = live.user.messages(job)
    assert done["palate"]["attempt"]["number"] == 4, messages
    assert sum(WORDS in message for message in messages) == 2, messages
    assert sum("was not heard of any more" in message for message in messages) == 1, messages
    assert live.user.weights(job) == live.user.weights(undisturbed)
    live.palate("doctor", "--read")


def supervisor_of(live: Live, job: str, attempt: int) -> Process:
    found = processes.read(Workspace(live.attempts(job) / f"a{attempt}").supervisor)
    assert found is not None
    return found
