"""The object store cut off or silent: what is sealed waits on the node, and is published when the store is back."""

from collections.abc import Callable

import pytest

from core.contract.states import JobState
from core.db import checkpoints
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.faults.test_database_away import at_step
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.proxy import Proxy
from tests.waiting import until


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_what_is_sealed_is_published_when_the_store_is_back(
    fault: str, started: StartWorker, between: Callable[[str], Proxy], submit: Submit, store: Store
) -> None:
    objects = between("S3_ENDPOINT_URL")
    started(S3_ENDPOINT_URL=objects.url)
    job_id = submit(steps=16, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    getattr(objects, fault)()
    at_step(job_id, 10)
    assert_whole(store)  # past the fault: no row names what could not be stored
    objects.heal()
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 16)
    assert_whole(store)


@pytest.mark.slow
def test_a_store_that_stays_away_ends_the_attempt_and_not_the_job(
    started: StartWorker, between: Callable[[str], Proxy], submit: Submit, store: Store
) -> None:
    """The publisher gives up, the attempt is classified as infrastructure, and a later one goes on."""
    objects = between("S3_ENDPOINT_URL")
    started(S3_ENDPOINT_URL=objects.url)
    job_id = submit(steps=8, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    objects.cut()

    def first_ended() -> Attempt | None:
        with transaction() as session:
            found = session.get_one(Attempt, (job_id, 1))
            return found if found.ended_at else None

    first = until(first_ended, "the end of the first attempt", 120)
    assert (first.outcome, first.failure_class) == ("failed", "infra")
    with transaction() as session:
        point = checkpoints.newest_resume_point(session, job_id)
        assert point is not None, "what was committed stays"
    objects.heal()
    assert finished(job_id, 120) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 8)
    assert_whole(store)
