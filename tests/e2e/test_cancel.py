"""A job that runs is seen while it runs; cancelled, it stops within a step and leaves no process."""

import json
import time
from pathlib import Path

import openai
import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import Live, User, error_of, processes_of, triples
from tests.waiting import until
from worker.workspace import Workspace

VISIBLE_SECONDS = 2.0
CANCEL_SECONDS = 2.0
LEAVE_SECONDS = 2.0  # for two interpreters with torch and their launcher to end


@pytest.mark.usefixtures("ranks")
def test_a_running_job_is_seen_and_stopped(live: Live, user: User) -> None:
    """On both slots, while another job waits for them."""
    file = user.upload(triples(400, seed=5))
    user.judged(file)
    settings = {"batch_size": 4, "n_epochs": 50, "learning_rate": 1e-4, "max_steps": 5000}
    body = {
        "model": MODEL,
        "training_file": file,
        "method": {"type": "dpo", "dpo": {"hyperparameters": settings}},
        "palate": {"resources": {"gpus": 2}, "checkpoint": {"every_steps": 10, "keep": 2}},
    }
    job = user.http.post("/fine_tuning/jobs", json=body).json()["id"]
    waits = user.create(MODEL, file, ranks=2)
    delays = seen_steps(live, user, job, 20)
    assert max(delays.values()) < VISIBLE_SECONDS, delays
    in_use(user, file)
    until(lambda: len(user.http.get(f"/fine_tuning/jobs/{job}/checkpoints").json()["data"]) == 2, "two checkpoints")
    assert [each["rank"] for each in user.logs(job)["data"]] == [0, 1]

    queued = user.job(waits)
    assert (queued["status"], queued["palate"]["queue"]["position"]) == ("queued", 1)
    assert user.sdk.fine_tuning.jobs.cancel(waits).status == "cancelled"
    assert user.messages(waits)[-1] == "Job cancelled."

    ranks = {process.pid for process in Workspace(live.attempts(job) / "a1").processes()}
    assert len(ranks) == 3  # the launcher too
    before = user.step(job)
    answer = user.sdk.fine_tuning.jobs.cancel(job)
    assert (answer.status, answer.to_dict()["palate"]["phase"]) == ("running", "cancelling")
    again = user.sdk.fine_tuning.jobs.cancel(job)
    assert again.status in ("running", "cancelled")
    stopped(live, user, job, ranks)
    assert user.job(job)["palate"]["attempt"]["number"] == 1
    assert user.step(job) >= before
    kept(user, job)
    user.sdk.files.delete(file)


def seen_steps(live: Live, user: User, job: str, count: int) -> dict[int, float]:
    """step -> seconds from the step's end in the trainer to its sight through the API, for `count` steps.

    It waits as a dashboard does: a GET that answers with the job's next version.
    """
    seen: dict[int, float] = {}
    version, told = 0, live.attempts(job) / "a1" / "events.jsonl"
    deadline = time.monotonic() + 90
    while len(seen) < count:
        assert time.monotonic() < deadline, user.job(job)
        answer = user.http.get(f"/fine_tuning/jobs/{job}", params={"wait": 10, "since": version}).json()
        version = answer["palate"]["version"]
        step = (answer["palate"]["progress"] or {}).get("step") or 0
        if step and step not in seen:
            seen[step] = time.time() - time_of(told, step)
    events = user.http.get(f"/fine_tuning/jobs/{job}/events", params={"limit": 100}).json()["data"]
    shown = {event["data"]["step"] for event in events if event["type"] == "metrics"}
    assert set(range(1, max(seen))) <= shown | set(range(1, min(shown)))
    return seen


def time_of(events: Path, step: int) -> float:
    """When the trainer said that this step was done."""
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "step" and event["step"] == step:
            return float(event["time"])
    raise AssertionError(f"step {step} is shown, and the trainer never told of it")


def in_use(user: User, file: str) -> None:
    with pytest.raises(openai.ConflictError) as refused:
        user.sdk.files.delete(file)
    assert (refused.value.code, refused.value.response.headers["x-should-retry"]) == ("in_use", "false")
    assert "ftjob-" in refused.value.message


def stopped(live: Live, user: User, job: str, ranks: set[int]) -> None:
    """Nobody trains on after two seconds and a step; what is sealed is stored, then the job has ended."""
    asked = time.monotonic()
    until(lambda: not ranks & set(processes_of(live.home)), "the end of the ranks", 15, every=0.02)
    gone = time.monotonic() - asked
    assert gone < CANCEL_SECONDS + LEAVE_SECONDS
    until(lambda: user.job(job)["status"] == "cancelled", "the cancelled job", 10)
    assert user.messages(job)[-1] == "Job cancelled."


def kept(user: User, job: str) -> None:
    """The checkpoints that were complete are still there, whole."""
    found = user.http.get(f"/fine_tuning/jobs/{job}/checkpoints").json()["data"]
    assert len(found) >= 2
    name = found[0]["fine_tuned_model_checkpoint"]
    files = user.http.get(f"/models/{name}/files").json()["data"]
    entry = next(each for each in files if each["path"] == "model.safetensors")
    assert len(user.http.get(f"/models/{name}/files/model.safetensors").content) == entry["bytes"]
    assert user.job(job)["fine_tuned_model"] is None
    error = error_of(user.http.delete(f"/models/{MODEL}"), 400)
    assert "operator" in error["message"]
