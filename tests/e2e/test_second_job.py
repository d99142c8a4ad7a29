"""What one job computed under the reference, no later job on the same base model and data computes again."""

from typing import Any

import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import User, triples

SETTINGS: dict[str, Any] = {"batch_size": 8, "max_steps": 2}


def started(user: User, job_id: str) -> dict[str, Any]:
    """What the trainer said when it began."""
    listed = user.http.get(f"/fine_tuning/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
    told: dict[str, Any] = next(each["data"] for each in listed if each["message"].startswith("Trainer started"))
    return told


@pytest.mark.usefixtures("ranks")
def test_a_second_job_runs_no_reference_forward(user: User) -> None:
    """Another loss, another number of ranks, an adapter instead of all weights: the reference is the same."""
    file = user.upload(triples(20, seed=5))
    user.judged(file)
    first = user.create(MODEL, file, 2, **SETTINGS)
    user.succeeded(first)
    again = user.create(MODEL, file, 1, loss="ipo", lora={"r": 4}, **SETTINGS)
    user.succeeded(again)
    answers = 2 * SETTINGS["batch_size"] * SETTINGS["max_steps"]
    assert answers < 2 * user.job(first)["palate"]["data"]["pairs"], "what the steps do not use is not scored"
    assert [started(user, first)[name] for name in ("reference_cached", "reference_forwards")] == [0, answers]
    assert [started(user, again)[name] for name in ("reference_cached", "reference_forwards")] == [answers, 0]
    told = [message for message in user.messages(again) if "reference" in message.lower()]
    assert all(message.startswith("The data, by the reference model: ") for message in told), "no pass, no warning"
