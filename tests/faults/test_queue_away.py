"""Redis absent, silent, or full of old and doubled messages: every job starts, and starts once."""

import random
import time
from collections.abc import Callable

import pytest
import redis
from sqlalchemy import func, select

from core import queue
from core.contract.states import JobState
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.queue import ring
from tests.conftest import forget
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights
from tests.proxy import Proxy
from tests.waiting import until


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_jobs_start_without_redis(
    fault: str, started: StartWorker, between: Callable[[str], Proxy], submit: Submit, store: Store
) -> None:
    redis = between("REDIS_URL")
    getattr(redis, fault)()
    started(REDIS_URL=redis.url)
    job_ids = [submit(steps=3) for _ in range(2)]
    for job_id in job_ids:
        assert finished(job_id) == JobState.SUCCEEDED
        assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 3)
    assert_whole(store)


def test_a_bell_that_cannot_ring_says_so_in_a_moment(
    service: dict[str, str], between: Callable[[str], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = between("REDIS_URL")
    monkeypatch.setenv("REDIS_URL", redis.url)
    forget()
    queue._producer.cache_clear()
    assert ring()
    redis.hang()
    began = time.monotonic()
    assert not ring()
    assert time.monotonic() - began < 5 * queue.PRODUCER_SECONDS
    redis.cut()
    assert not ring()
    redis.heal()
    assert ring()
    queue._producer.cache_clear()


def test_a_hundred_messages_make_one_attempt(
    own_redis: "redis.Redis", started: StartWorker, submit: Submit, store: Store
) -> None:
    job_id = submit(steps=3)
    for hops in (0, 3) * 50:
        assert ring(hops)
    assert own_redis.llen(queue.QUEUE) == 100
    started(PALATE_SWEEP_SECONDS="1000")
    until(lambda: own_redis.llen(queue.QUEUE) == 0, "every message to be taken")
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 3)
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 1
    assert_whole(store)


@pytest.mark.slow
def test_old_messages_in_another_order_change_nothing(
    own_redis: "redis.Redis", started: StartWorker, submit: Submit, store: Store
) -> None:
    """Kept back until the job is long over; a message carries no time and names no job."""
    for number in range(100):
        assert ring(number % 4)
    late = own_redis.lrange(queue.QUEUE, 0, -1)
    assert len(late) == 100
    own_redis.delete(queue.QUEUE)
    started()
    first = submit(steps=3)
    assert finished(first) == JobState.SUCCEEDED
    random.Random(1).shuffle(late)
    own_redis.rpush(queue.QUEUE, *late)
    second = submit(steps=3)
    until(lambda: own_redis.llen(queue.QUEUE) == 0, "the late messages to be taken")
    assert finished(second) == JobState.SUCCEEDED
    for job_id in (first, second):
        assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 3)
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 2
    assert_whole(store)


def test_a_wiped_redis_costs_a_tick_and_hears_bells_again(
    own_redis: "redis.Redis", started: StartWorker, submit: Submit, store: Store
) -> None:
    """Jobs one after the other, at a tick of 100 s: what starts them is the bell."""
    started(PALATE_SWEEP_SECONDS="1000")
    for job_id in (submit(steps=2), submit(steps=2)):
        assert ring()
        assert finished(job_id, 30) == JobState.SUCCEEDED
        assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 2)
        own_redis.flushdb()
    assert_whole(store)
