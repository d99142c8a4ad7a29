"""A job from queued to its end through Celery, supervisor and store, with the scripted trainer."""

import hashlib
import os
import signal
import subprocess
from datetime import UTC
from pathlib import Path

import pytest
import redis

from core import processes
from core.contract.states import JobState
from core.db import attempts, checkpoints, events, jobs, metrics, models, nodes, rank_logs
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects import keys
from core.objects.store import Store
from core.queue import ring
from tests.integration.worker.conftest import Submit, job_row, start_worker
from tests.waiting import until
from worker import workspace
from worker.workspace import Workspace


def finished(job_id: str, seconds: float = 60) -> JobState:
    return until(lambda: (s := JobState(job_row(job_id).state)).terminal and s, f"the end of {job_id}", seconds)


def chain(digest: str, steps: int) -> bytes:
    """What the scripted trainer's weights must be after so many steps."""
    state = hashlib.sha256(digest.encode()).hexdigest()
    for step in range(1, steps + 1):
        state = hashlib.sha256(f"{state}{step}".encode()).hexdigest()
    return state.encode()


def weights(store: Store, job_id: str) -> bytes:
    job = job_row(job_id)
    assert job.fine_tuned_model is not None
    with transaction() as session:
        model = models.by_name(session, job.project_id, job.fine_tuned_model)
    return store.read(model.prefix + "model.safetensors")


def test_a_job_runs_to_a_model_that_is_stored(worker: "subprocess.Popen[bytes]", submit: Submit, store: Store) -> None:
    job_id = submit(steps=4)
    assert ring()
    assert finished(job_id) == JobState.SUCCEEDED
    job = job_row(job_id)
    assert weights(store, job_id) == chain(job.training_digest or "", 4)
    assert job.progress is not None
    assert job.progress["percent"] == 100
    assert len(job.result_files) == 2
    assert job.resolved is not None
    assert "auto" not in job.resolved.values()
    assert (job.resolved["max_steps"], job.resolved["batch_size"]) == (20, 1)
    with transaction() as session:
        said = [event.message for event in events.page(session, job_id, None, 100)[0]]
        table = metrics.columns(session, job_id)
        assert checkpoints.newest_resume_point(session, job_id) is None
        assert "plt_abc_***" in rank_logs.of_newest_attempt(session, job_id)[0].tail
    assert said[0] == "The job has successfully completed."
    assert table["step"] == [1, 2, 3, 4]
    assert table["train_loss"][0] == 0.7


def test_a_killed_rank_goes_on_from_its_resume_point(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=6, at={"5": "kill"})
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    job = job_row(job_id)
    assert job.epoch == 2
    assert weights(store, job_id) == chain(job.training_digest or "", 6)
    with transaction() as session:
        second = session.get_one(Attempt, (job_id, 2))
        assert second.resumed_from_step == 4


def test_losses_count_in_a_row_and_a_resume_point_ends_the_row(
    service: dict[str, str], submit: Submit, store: Store, tmp_path: Path
) -> None:
    """Two in a row would end the job, and the second would wait for a minute."""
    more = {"PALATE_INFRA_ATTEMPTS": "2", "PALATE_BACKOFF_SECONDS": "600"}
    process = start_worker(service, tmp_path / "worker.log", **more)
    try:
        job_id = submit(steps=60, step_seconds=0.1)
        ring()
        for epoch in (1, 2, 3):
            until(lambda epoch=epoch: committed(job_id, epoch), f"a resume point of attempt {epoch}", 30)  # type: ignore[misc]
            space_of(job_id, epoch).ranks()[0].kill()
        assert finished(job_id) == JobState.SUCCEEDED
    finally:
        process.kill()
        process.wait()
    assert job_row(job_id).epoch == 4
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 60)


def committed(job_id: str, epoch: int) -> bool:
    with transaction() as session:
        newest = checkpoints.newest_resume_point(session, job_id)
        return newest is not None and newest.epoch == epoch


def space_of(job_id: str, epoch: int) -> Workspace:
    return Workspace(workspace.root() / job_id / f"a{epoch}")


def test_a_killed_supervisor_takes_its_ranks_along_and_the_job_goes_on(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=8, step_seconds=0.2)
    supervisor, ranks = under_way(job_id)
    supervisor.kill()
    until(lambda: not any(process.alive() for process in ranks), "the ranks' end", 5)
    assert finished(job_id) == JobState.SUCCEEDED
    assert job_row(job_id).epoch == 2
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 8)


def with_resume_point(job_id: str) -> None:
    def look() -> bool:
        with transaction() as session:
            return checkpoints.newest_resume_point(session, job_id) is not None

    until(look, "a resume point")


def under_way(job_id: str) -> tuple[processes.Process, list[processes.Process]]:
    """Supervisor and ranks of the first attempt, which has left a resume point."""
    ring()
    with_resume_point(job_id)
    space = space_of(job_id, 1)
    supervisor, ranks = processes.read(space.supervisor), space.processes()
    assert supervisor is not None
    assert ranks
    return supervisor, ranks


def test_a_supervisor_that_is_told_to_leave_leaves_a_resume_point(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    """As when its node is shut down: nobody's failure, and no step is lost."""
    job_id = submit(steps=20, step_seconds=0.2)
    supervisor, _ = under_way(job_id)
    supervisor.send(signal.SIGTERM)
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        first, second = (session.get_one(Attempt, (job_id, epoch)) for epoch in (1, 2))
    assert (first.outcome, first.failure_class, job_row(job_id).retries) == ("preempted", None, 0)
    assert second.resumed_from_step == first.step
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 20)


def test_a_cancelled_job_stops_within_a_step_and_leaves_no_process(
    worker: "subprocess.Popen[bytes]", submit: Submit
) -> None:
    job_id = submit(steps=1000, step_seconds=0.1)
    ring()
    until(lambda: (job_row(job_id).progress or {}).get("step", 0) >= 2, "two steps")
    ranks = space_of(job_id, 1).processes()
    with transaction() as session:
        jobs.cancel(session, job_row(job_id).project_id, job_id)
    assert finished(job_id, 5) == JobState.CANCELLED
    assert ranks
    assert not any(process.alive() for process in ranks)
    with transaction() as session:
        assert not attempts.open_on(session, "n1")


@pytest.mark.parametrize("phase", ["tokenizing", "reference_pass", "exporting"])
def test_a_cancelled_job_ends_in_any_phase_whether_its_run_heeds_or_not(
    worker: "subprocess.Popen[bytes]", submit: Submit, phase: str
) -> None:
    """It gets the time of a step, then SIGKILL: SIGTERM does nothing to it either."""
    job_id = submit(steps=2, deaf_in=phase)
    ring()
    until(lambda: job_row(job_id).phase == phase, phase)
    ranks = space_of(job_id, 1).processes()
    with transaction() as session:
        jobs.cancel(session, job_row(job_id).project_id, job_id)
    assert finished(job_id, 10) == JobState.CANCELLED
    assert ranks
    assert not any(process.alive() for process in ranks)
    assert job_row(job_id).fine_tuned_model is None


def test_a_diverged_run_fails_with_its_reason_and_is_not_tried_again(
    worker: "subprocess.Popen[bytes]", submit: Submit
) -> None:
    job_id = submit(steps=6, at={"3": "exit:71"})
    ring()
    assert finished(job_id) == JobState.FAILED
    job = job_row(job_id)
    assert job.epoch == 1
    assert job.error == {"code": "scripted", "message": "The script says 71.", "param": None}


def test_without_a_bell_the_sweeper_starts_the_job(
    own_redis: "redis.Redis", worker: "subprocess.Popen[bytes]", submit: Submit
) -> None:
    """Nobody else's either; the worker has looked once when the job comes."""

    def looked() -> bool:
        with transaction() as session:
            return bool(nodes.known(session))

    until(looked, "the worker's first look")
    job_id = submit(steps=2)
    assert finished(job_id) == JobState.SUCCEEDED


def test_a_killed_celery_worker_does_not_touch_the_training(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=10, step_seconds=0.2)
    ring()
    until(lambda: (job_row(job_id).progress or {}).get("step", 0) >= 1, "the first step")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert finished(job_id) == JobState.SUCCEEDED
    assert job_row(job_id).epoch == 1


def test_out_of_gpu_memory_halves_the_rows_and_never_the_batch(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=4, fits=32)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    job = job_row(job_id)
    assert (job.epoch, job.halvings, job.retries) == (3, 2, 0)
    assert weights(store, job_id) == chain(job.training_digest or "", 4)
    with transaction() as session:
        said = [event.message for event in events.page(session, job_id, None, 100)[0] if "halved" in event.message]
    assert ["halved to 32 tokens; the global batch stays 1" in each for each in said] == [True, False]
    assert "halved to 64 tokens" in said[1]


def test_out_of_gpu_memory_with_the_smallest_rows_ends_the_job(
    worker: "subprocess.Popen[bytes]", submit: Submit
) -> None:
    job_id = submit(steps=4, fits=1)
    ring()
    assert finished(job_id) == JobState.FAILED
    job = job_row(job_id)
    assert (job.epoch, job.halvings) == (4, 3)
    assert job.error is not None
    assert job.error["code"] == "scripted"


def paused(job_id: str) -> None:
    with transaction() as session:
        jobs.pause(session, jobs.locked(session, job_id).project_id, job_id)


def resumed(job_id: str) -> None:
    with transaction() as session:
        jobs.resume(session, jobs.locked(session, job_id).project_id, job_id)


def test_a_paused_job_frees_its_slots_and_ends_as_if_it_had_not_been_paused(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    job_id = submit(steps=30, step_seconds=0.2, ranks=2)
    waits = submit(steps=2, ranks=2)
    ring()
    with_resume_point(job_id)
    paused(job_id)
    paused(job_id)
    assert job_row(job_id).phase == "pausing"
    until(lambda: job_row(job_id).state == JobState.PAUSED, "the pause")
    assert finished(waits) == JobState.SUCCEEDED, "both slots are free"
    with transaction() as session:
        point = checkpoints.newest_resume_point(session, job_id)
        assert point is not None
        step = point.step
        assert session.get_one(Attempt, (job_id, 1)).step == step, "nothing is done twice"
    assert (job_row(job_id).state, job_row(job_id).epoch) == (JobState.PAUSED, 1), "nobody takes it up by itself"
    resumed(job_id)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        assert session.get_one(Attempt, (job_id, 2)).resumed_from_step == step
        assert metrics.columns(session, job_id)["step"] == list(range(1, 31))
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 30)
    with transaction() as session:
        said = [
            each.data or {} for each in events.page(session, job_id, None, 100)[0] if "Trainer started" in each.message
        ]
    created = job_row(job_id).created_at.astimezone(UTC).isoformat()
    assert [each["clock"] for each in said] == [created] * 2, "a template tells both attempts the same day"


def test_a_pause_that_is_taken_back_costs_nothing(
    worker: "subprocess.Popen[bytes]", submit: Submit, store: Store
) -> None:
    """Whether the run had been told already or not, the job goes on by itself."""
    job_id = submit(steps=12, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    paused(job_id)
    resumed(job_id)
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 12)


def test_a_pausing_job_can_be_cancelled(worker: "subprocess.Popen[bytes]", submit: Submit) -> None:
    job_id = submit(steps=1000, step_seconds=0.1)
    ring()
    with_resume_point(job_id)
    paused(job_id)
    with transaction() as session:
        jobs.cancel(session, jobs.locked(session, job_id).project_id, job_id)
    assert finished(job_id) == JobState.CANCELLED


def test_a_run_that_falls_silent_is_ended_with_its_stacks_and_goes_on(
    service: dict[str, str], submit: Submit, store: Store, tmp_path: Path
) -> None:
    """At the time scale of these tests: 20 s of silence are 2 s."""
    process = start_worker(service, tmp_path / "worker.log", PALATE_HANG_SECONDS="20")
    try:
        job_id = submit(steps=8, at={"5": "silence"})
        ring()
        assert finished(job_id) == JobState.SUCCEEDED
    finally:
        process.kill()
        process.wait()
    with transaction() as session:
        first, second = (session.get_one(Attempt, (job_id, epoch)) for epoch in (1, 2))
        said = [event.message for event in events.page(session, job_id, None, 100)[0]]
    assert (first.failure_class, second.resumed_from_step) == ("infra", 4)
    assert any("nothing was heard of the run for" in message for message in said)
    log = store.read(keys.log(job_id, 1, 0)).decode()
    assert "in act" in log.split("Current thread")[1], "where it hung"
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 8)
