"""The store answers with errors, slowly, not at all, in half, or with a flipped bit: nothing wrong is ever used."""

import pytest

from core import processes
from core.contract.states import JobState
from core.db import checkpoints
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole, said
from tests.faults.test_database_away import at_step
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.lying_store import LyingStore
from tests.waiting import until
from worker import workspace


def ends_well(store: Store, job_id: str, steps: int) -> None:
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", steps)
    assert_whole(store)


def attempt(job_id: str, epoch: int) -> Attempt:
    with transaction() as session:
        return session.get_one(Attempt, (job_id, epoch))


def test_errors_are_tried_again(started: StartWorker, lying: LyingStore, submit: Submit, store: Store) -> None:
    """Of reads, and of writes that were done all the same."""
    started(S3_ENDPOINT_URL=lying.url)
    job_id = submit(steps=6)
    lies = [lying.lie("error", "jobs/", method=method, times=3) for method in ("PUT", "HEAD")]
    lies.append(lying.lie("error", "canonical/", times=2))
    ring()
    ends_well(store, job_id, 6)
    assert [lie.told for lie in lies] == [3, 3, 2]
    assert job_row(job_id).epoch == 1, "no attempt was lost for that"


def test_a_blip_behind_the_training_changes_nothing(
    started: StartWorker, lying: LyingStore, submit: Submit, store: Store
) -> None:
    """The ranks' logs are refused for good, the results once more often than the store's client tries."""
    started(S3_ENDPOINT_URL=lying.url)
    job_id = submit(steps=4)
    logs = lying.lie("error", "/logs/", method="PUT", times=99)
    results = lying.lie("error", "step_metrics.csv", method="PUT", times=6)
    ring()
    ends_well(store, job_id, 4)
    assert logs.told > 0
    assert results.told == 6
    assert job_row(job_id).epoch == 1


@pytest.mark.slow
def test_slow_and_then_silent_for_a_while(
    started: StartWorker, lying: LyingStore, submit: Submit, store: Store
) -> None:
    started(S3_ENDPOINT_URL=lying.url)
    lying.delay(0.05)
    job_id = submit(steps=20, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    step = (job_row(job_id).progress or {})["step"]
    lying.hang()
    at_step(job_id, min(step + 8, 20))  # the training does not wait for the store
    lying.heal()
    ends_well(store, job_id, 20)
    assert job_row(job_id).epoch == 1


@pytest.mark.parametrize(
    ("kind", "times", "resumed_from"),
    [("flip", 99, 6), ("short", 99, 6), pytest.param("short", 1, 8, marks=pytest.mark.slow)],
)
def test_a_resume_point_that_cannot_be_trusted(
    kind: str, times: int, resumed_from: int, started: StartWorker, lying: LyingStore, submit: Submit, store: Store
) -> None:
    """In every read: the one before, in the same attempt. Cut short on the way, once: read again."""
    lie = lying.lie(kind, "resume/step-8/", times=times)  # type: ignore[arg-type]
    started(S3_ENDPOINT_URL=lying.url)
    job_id = submit(steps=9, step_seconds=0.2, at={"8": "kill"})
    ring()
    ends_well(store, job_id, 9)
    assert lie.told > 0
    last = attempt(job_id, job_row(job_id).epoch)
    told = [each for each in said(job_id) if "is damaged in the store" in each]
    assert (last.epoch, last.resumed_from_step, len(told)) == (2, resumed_from, 1 if times > 1 else 0)


@pytest.mark.slow
def test_when_no_resume_point_can_be_trusted_it_begins_anew(
    started: StartWorker, lying: LyingStore, submit: Submit, store: Store
) -> None:
    """And what it leaves from then on is kept, though its steps lie below those of the damaged ones."""
    lying.lie("flip", "a1/resume/", times=99)
    started(S3_ENDPOINT_URL=lying.url)
    job_id = submit(steps=9, step_seconds=0.5, at={"8": "kill"})
    ring()

    def newest() -> int | None:
        with transaction() as session:
            found = checkpoints.newest_resume_point(session, job_id)
            return found.step if found is not None and found.epoch == 2 else None

    until(lambda: newest() in (2, 4), "a resume point of the second attempt, before the first's steps")
    supervisor = processes.read(workspace.of(Lease(job_id, 2, "")).supervisor)
    assert supervisor is not None
    supervisor.kill()
    ends_well(store, job_id, 9)
    assert attempt(job_id, 2).resumed_from_step == 0
    assert (attempt(job_id, 3).resumed_from_step or 0) >= 2
    with transaction() as session:
        assert checkpoints.newest_resume_point(session, job_id) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flip", "short"])
def test_data_that_comes_spoilt_is_refused_and_read_again(
    kind: str, started: StartWorker, lying: LyingStore, submit: Submit, store: Store
) -> None:
    lie = lying.lie(kind, "canonical/")  # type: ignore[arg-type]
    started(S3_ENDPOINT_URL=lying.url)
    job_id = submit(steps=3)
    ring()
    ends_well(store, job_id, 3)
    assert lie.told == 1
    first = attempt(job_id, 1)
    assert (first.outcome, first.failure_class, job_row(job_id).epoch) == ("failed", "infra", 2)
