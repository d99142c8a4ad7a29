"""The Celery process of a node stands still: the run ends without it, and it goes on where it was."""

import os
import signal

import redis

from core.contract.states import JobState
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point


def test_a_run_does_not_notice(own_redis: "redis.Redis", started: StartWorker, submit: Submit, store: Store) -> None:
    """At a tick of 100 s, with nobody else's bells: what starts the second job is the message that waited."""
    worker = started(PALATE_SWEEP_SECONDS="1000")
    first = submit(steps=10, step_seconds=0.2)
    ring()
    with_resume_point(first)
    os.killpg(worker.pid, signal.SIGSTOP)
    assert finished(first) == JobState.SUCCEEDED
    second = submit(steps=2)
    assert ring()
    os.killpg(worker.pid, signal.SIGCONT)
    assert finished(second) == JobState.SUCCEEDED
    for job_id, steps in ((first, 10), (second, 2)):
        assert job_row(job_id).epoch == 1
        assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", steps)
    assert_whole(store)
