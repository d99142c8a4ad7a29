"""max_runtime_seconds: the job ends with the model it has by then; without a step there is none, and it says so."""

import subprocess

from core.contract.states import JobState
from core.db import events
from core.db.engine import transaction
from core.db.tables import Attempt, Event
from core.objects.store import Store
from core.queue import ring
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights


def said(job_id: str) -> list[Event]:
    with transaction() as session:
        return list(events.page(session, job_id, None, 100)[0])


def held(attempt: Attempt) -> float:
    assert attempt.ended_at is not None
    return (attempt.ended_at - attempt.started_at).total_seconds()


def test_a_run_whose_time_is_over_ends_with_its_model(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=1000, step_seconds=0.05, palate={"max_runtime_seconds": 15})
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    job = job_row(job_id)
    assert job.progress is not None
    step = job.progress["step"]
    assert 0 < step < 1000
    assert weights(store, job_id) == chain(job.training_digest or "", step)
    (told,) = [event for event in said(job_id) if (event.data or {}).get("type") == "max_runtime"]
    assert (told.level, told.message) == (
        "warn",
        "max_runtime_seconds (15) is over: the job ends with the model of this step.",
    )


def test_the_time_of_earlier_attempts_counts(worker: "subprocess.Popen[bytes]", submit: Submit, store: Store) -> None:
    job_id = submit(steps=1000, step_seconds=0.2, at={"10": "kill"}, palate={"max_runtime_seconds": 15})
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        first, second = (session.get_one(Attempt, (job_id, epoch)) for epoch in (1, 2))
    assert held(first) > 2, "ten steps"
    assert held(second) < 15 - 1, "it has only what the first has left"
    assert second.step is not None
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", second.step)


def test_a_run_that_has_no_step_to_show_fails(worker: "subprocess.Popen[bytes]", submit: Submit) -> None:
    job_id = submit(loading_seconds=60, palate={"max_runtime_seconds": 1})
    ring()
    assert finished(job_id) == JobState.FAILED
    job = job_row(job_id)
    assert job.error == {
        "code": "max_runtime_exceeded",
        "message": "max_runtime_seconds (1) is over: no step was trained. Give it more, or more slots.",
        "param": "palate.max_runtime_seconds",
    }
    assert job.epoch == 1, "never tried again"
