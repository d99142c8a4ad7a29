"""Once a run has trained to its end, nothing is trained again: what is stored is verified, refused and kept, or lost
with its node, and then that is said.
"""

import subprocess
from pathlib import Path

import pytest

from core.contract.states import JobState
from core.db import checkpoints, events, jobs, metrics, models
from core.db.checkpoints import VERIFIED
from core.db.engine import transaction
from core.db.tables import Attempt, Checkpoint, Event, Job, Model
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import assert_whole
from tests.integration.worker.conftest import Submit, job_row, start_worker
from tests.integration.worker.test_attempts import chain, finished, space_of, weights
from tests.waiting import until


def said(job_id: str) -> list[Event]:
    """The oldest first."""
    with transaction() as session:
        return list(events.page(session, job_id, None, 100)[0])[::-1]


def of_type(job_id: str, kind: str) -> list[Event]:
    return [event for event in said(job_id) if (event.data or {}).get("type") == kind]


def steps_of(job_id: str) -> list[int]:
    """Of every step that was ever said, in order."""
    return [(event.data or {})["step"] for event in said(job_id) if event.type == "metrics"]


def listed(job_id: str) -> list[tuple[Checkpoint, Model]]:
    with transaction() as session:
        return list(checkpoints.page(session, job_id, None, 10)[0])


def attempt(job_id: str, epoch: int) -> Attempt:
    with transaction() as session:
        return session.get_one(Attempt, (job_id, epoch))


def test_a_refused_model_is_kept_and_nothing_is_trained_twice(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=4, verifying="refused")
    ring()
    assert finished(job_id) == JobState.FAILED
    job = job_row(job_id)
    assert (job.epoch, job.fine_tuned_model) == (1, None)
    assert (job.error or {})["code"] == "export_mismatch"
    assert attempt(job_id, 1).failure_class == "refused"
    assert steps_of(job_id) == [1, 2, 3, 4]
    ((checkpoint, model),) = listed(job_id)
    assert (checkpoint.step, checkpoint.metrics[VERIFIED]) == (4, 0)
    assert model.name.endswith(":ckpt-step-4")
    assert store.read(model.prefix + "model.safetensors") == chain(job.training_digest or "", 4)
    (told,) = of_type(job_id, "kept")
    for word in (model.name, "9.9e+00", "1.0e-04", f"palate pull {model.name}"):
        assert word in told.message
    assert "proof" not in model.manifest["meta"], "answers of the data stand in no manifest"
    assert_whole(store)


def test_where_nothing_was_stored_there_is_nothing_to_keep(worker: "subprocess.Popen[bytes]", submit: Submit) -> None:
    """Refused before the first step, and between two: both never again, and said so."""
    jobs_of = [(submit(steps=4, at={place: "exit:73"}), place) for place in ("reference_pass", "3")]
    ring()
    for job_id, place in jobs_of:
        assert finished(job_id) == JobState.FAILED
        assert (job_row(job_id).epoch, attempt(job_id, 1).failure_class) == (1, "refused")
        (told,) = of_type(job_id, "kept")
        what = "Of its 3 steps no checkpoint was stored" if place == "3" else "No step was trained"
        assert told.message == f"The script says 73. {what}: there is no model to keep."
        assert listed(job_id) == []


@pytest.mark.parametrize(("place", "publishes"), [("verifying", True), ("sealed", False)])
def test_a_run_killed_at_its_end(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store, place: str, publishes: bool
) -> None:
    """In the middle of its verification: the next attempt verifies alone. Sealed and not yet told of: it is trained
    again from the last resume point, which is said."""
    job_id = submit(steps=5, at={place: "kill"}, ranks=2)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    assert (job_row(job_id).epoch, attempt(job_id, 1).failure_class) == (2, "infra")
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 5)
    ((checkpoint, _),) = listed(job_id)
    assert checkpoint.metrics[VERIFIED] == 1
    assert (job_row(job_id).progress or {})["step"] == 5
    if publishes:
        assert steps_of(job_id) == [1, 2, 3, 4, 5]
        assert (checkpoint.epoch, attempt(job_id, 2).resumed_from_step) == (1, 5)
        (told,) = of_type(job_id, "verifies_alone")
        assert "nothing is trained again" in told.message
    else:
        assert steps_of(job_id) == [1, 2, 3, 4, 5, 5]
        (told,) = of_type(job_id, "trained_again")
        assert (told.level, told.data) == ("warn", {"type": "trained_again", "from": 4, "to": 5})
        assert told.message.startswith("Steps 5 to 5 were trained before and are trained again")
    assert_whole(store)


def test_what_a_retry_refuses_is_not_tried_a_third_time(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    """The first attempt has committed, which begins the count of losses anew."""
    job_id = submit(steps=3, at={"verifying": "kill"}, verifying="refused")
    ring()
    assert finished(job_id) == JobState.FAILED
    assert (job_row(job_id).epoch, attempt(job_id, 2).failure_class) == (2, "refused")
    assert steps_of(job_id) == [1, 2, 3]
    ((checkpoint, _),) = listed(job_id)
    assert checkpoint.metrics[VERIFIED] == 0
    assert_whole(store)


@pytest.mark.parametrize("act", ["kill", "exit:72"])
def test_a_verification_that_never_ends_well_ends_and_its_model_is_kept(
    service: dict[str, str], submit: Submit, store: Store, tmp_path: Path, act: str
) -> None:
    """Out of a GPU's memory too: smaller rows would change nothing."""
    process = start_worker(service, tmp_path / "worker.log", PALATE_INFRA_ATTEMPTS="3", PALATE_BACKOFF_SECONDS="0.1")
    try:
        job_id = submit(steps=3, verifying=act)
        ring()
        assert finished(job_id) == JobState.FAILED
    finally:
        process.kill()
        process.wait()
    job = job_row(job_id)
    assert (job.epoch, job.halvings) == (3, 0)
    assert {attempt(job_id, epoch).failure_class for epoch in (1, 2, 3)} == {"infra"}
    assert steps_of(job_id) == [1, 2, 3]
    ((checkpoint, model),) = listed(job_id)
    assert VERIFIED not in checkpoint.metrics
    (told,) = of_type(job_id, "kept")
    assert f"not verified) is kept as {model.name}" in told.message
    assert_whole(store)


def test_cancelled_while_it_verifies(worker: "subprocess.Popen[bytes]", submit: Submit, store: Store) -> None:
    job_id = submit(steps=3, verifying="waits")
    ring()
    until(lambda: listed(job_id), "the model to be listed")
    with transaction() as session:
        jobs.cancel(session, job_row(job_id).project_id, job_id)
    assert finished(job_id) == JobState.CANCELLED
    ((checkpoint, _),) = listed(job_id)
    assert (checkpoint.step, VERIFIED in checkpoint.metrics) == (3, False)
    assert job_row(job_id).fine_tuned_model is None
    assert_whole(store)


def test_a_run_whose_time_is_over_and_that_is_killed_while_it_verifies_trains_no_further(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=1000, step_seconds=0.2, at={"verifying": "kill"}, palate={"max_runtime_seconds": 8})
    ring()
    assert finished(job_id) == JobState.SUCCEEDED, job_row(job_id).error
    seen = steps_of(job_id)
    assert job_row(job_id).epoch == 2
    assert 0 < len(seen) < 1000
    assert seen == list(range(1, len(seen) + 1)), "each once"
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", len(seen))
    assert_whole(store)


def test_the_row_forgets_the_answers_when_the_job_is_over(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=2)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        assert [proof for (proof,) in session.query(Checkpoint.proof).filter_by(job_id=job_id)] == [None]
        table = metrics.columns(session, job_id)
        final = models.by_name(session, session.get_one(Job, job_id).project_id, job_row(job_id).fine_tuned_model or "")
    assert table["step"] == [1, 2]
    assert "proof" not in final.manifest["meta"]
    assert not (space_of(job_id, 1).path).exists()
