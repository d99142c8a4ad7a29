"""A paused job leaves a resume point and its slots; resumed, it ends with an undisturbed run's weights, bit for bit."""

import openai
import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import Live, User, triples
from tests.waiting import until

SETTINGS = {"batch_size": 8, "n_epochs": 50, "max_steps": 60, "learning_rate": 1e-4}
# A tenth of the file is held out, the same pairs after a resume as before.
SPLIT = {"eval": {"split": 0.1, "every_steps": 60}}


@pytest.mark.usefixtures("ranks")
def test_pause_and_resume(live: Live, user: User) -> None:
    file = user.upload(triples(80, seed=11))
    user.judged(file)
    undisturbed = user.create(MODEL, file, 2, palate=SPLIT, **SETTINGS)
    whole = user.succeeded(undisturbed)["palate"]["data"]
    assert (whole["pairs"], whole["held_out"]) == (72, 8)

    job = user.create(MODEL, file, 2, palate=SPLIT, **SETTINGS)
    until(lambda: user.step(job) >= 5, "the first steps", 90)
    answer = user.sdk.fine_tuning.jobs.pause(job)
    assert (answer.status, answer.to_dict()["palate"]["phase"]) == ("running", "pausing")
    until(lambda: user.job(job)["status"] == "paused", "the pause", 30)
    step = user.step(job)
    assert step < SETTINGS["max_steps"], "too quick to be paused in the middle"
    user.succeeded(user.create(MODEL, file, 2, **{**SETTINGS, "max_steps": 2}))
    assert (user.job(job)["status"], user.step(job)) == ("paused", step)

    assert live.palate("resume", job).stdout.split() == [job, "queued"]
    done = user.succeeded(job)
    assert done["palate"]["attempt"]["resumed_from_step"] == step
    assert user.weights(job) == user.weights(undisturbed)
    assert done["palate"]["data"] == whole
    told = [
        [line for line in user.messages(each) if "held out" in line or line.startswith("Held-out")]
        for each in (job, undisturbed)
    ]
    assert told[0] == told[1]
    assert told[0][0].startswith("8 of the training file's examples are held out")
    assert [line.split(":")[0] for line in told[0][1:]] == ["Held-out pairs at step 0", "Held-out pairs at step 60"]
    with pytest.raises(openai.ConflictError) as refused:
        user.sdk.fine_tuning.jobs.pause(job)
    assert (refused.value.code, refused.value.response.headers["x-should-retry"]) == ("job_not_pausable", "false")
