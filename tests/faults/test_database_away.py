"""Postgres cut off, silent or slow: the training goes on within its lease, and everything afterwards by itself."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core import processes
from core.contract.states import JobState
from core.db import nodes
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights
from tests.proxy import Proxy
from tests.waiting import until
from worker import workspace

# A lease of 20 s, fenced after 13 s.
SCALE = "0.333"


def at_step(job_id: str, step: int) -> None:
    until(lambda: (job_row(job_id).progress or {}).get("step", 0) >= step, f"step {step}")


def test_an_outage_nearly_as_long_as_the_lease_costs_no_attempt(
    started: StartWorker,
    between: Callable[[str], Proxy],
    submit: Submit,
    store: Store,
    service: dict[str, str],
) -> None:
    """At its true length: fenced after 40 s, away for 25 s, in which all that was sealed waits."""
    database = between("DATABASE_URL")
    started(DATABASE_URL=database.url, PALATE_TIME_SCALE="1")
    job_id = submit(steps=12, step_seconds=0.3)
    ring()
    at_step(job_id, 1)
    log = Path(service["PALATE_SCRATCH"]) / "logs" / "supervisors.log"
    database.cut()
    until(lambda: re.search(r"publishing .*, try 7: ", log.read_text()), "the seventh try", 40)
    database.heal()
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 12)
    assert job_row(job_id).epoch == 1
    assert_whole(store)


@pytest.mark.parametrize("fault", ["cut", "hang", "reset"])
def test_training_goes_on_while_the_database_is_away(
    fault: str, started: StartWorker, between: Callable[[str], Proxy], submit: Submit, store: Store
) -> None:
    database = between("DATABASE_URL")
    started(DATABASE_URL=database.url, PALATE_TIME_SCALE=SCALE)
    job_id = submit(steps=20, step_seconds=0.3)
    ring()
    at_step(job_id, 1)
    told = job_row(job_id).progress
    getattr(database, fault)()
    events = workspace.of(Lease(job_id, 1, "")).events
    until(lambda: events.read_text().count('"step"') > 2 * 8, "steps that Postgres hears nothing of")
    if fault != "reset":
        assert (job_row(job_id).progress or {})["step"] <= (told or {})["step"] + 2
    database.heal()
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 20)
    with transaction() as session:
        assert session.get_one(Attempt, (job_id, 1)).outcome == "finished", "one attempt, never interrupted"
    assert_whole(store)


@pytest.mark.parametrize("fault", [pytest.param("cut", marks=pytest.mark.slow), "hang"])
def test_a_holder_that_cannot_renew_ends_itself_before_another_takes_over(
    fault: str,
    started: StartWorker,
    between: Callable[[str], Proxy],
    submit: Submit,
    store: Store,
    tmp_path: Path,
) -> None:
    """Another node hears the database all the time, and would take the job as soon as it may."""
    database = between("DATABASE_URL")
    started(DATABASE_URL=database.url, PALATE_TIME_SCALE=SCALE)
    job_id = submit(steps=60, step_seconds=0.2, at={"50": "silence"})  # longer than any lease, and short afterwards
    ring()
    at_step(job_id, 4)
    folders = {"PALATE_SCRATCH": str(tmp_path / "n2"), "PALATE_CACHE": str(tmp_path / "n2" / "cache")}
    started(PALATE_NODE="n2", PALATE_TIME_SCALE=SCALE, **folders)
    until(lambda: now_and_known()[1] == {"n1", "n2"}, "the other node")
    space = workspace.of(Lease(job_id, 1, ""))
    supervisor = processes.read(space.supervisor)
    assert supervisor is not None
    holder = [supervisor, *space.processes()]
    assert len(holder) > 1
    assert all(process.alive() for process in holder)
    getattr(database, fault)()
    until(lambda: not any(process.alive() for process in holder), "the self-fence", 40)
    dead, _ = now_and_known()
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        second = session.get_one(Attempt, (job_id, 2))
        assert second.node == "n2"
        assert second.started_at > dead, "it began when nothing of the first was alive"
        assert (second.resumed_from_step or 0) >= 2
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 60)
    assert_whole(store)


def now_and_known() -> tuple[datetime, set[str]]:
    """The database's time, by which attempts begin, and the nodes that it has heard of."""
    with transaction() as session:
        return session.execute(select(func.now())).scalar_one(), {node.name for node in nodes.known(session)}


@pytest.mark.slow
def test_a_slow_database_only_takes_time(
    started: StartWorker, between: Callable[[str], Proxy], submit: Submit, store: Store
) -> None:
    database = between("DATABASE_URL")
    database.delay(0.05)
    started(DATABASE_URL=database.url)
    job_id = submit(steps=6)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 6)
    assert_whole(store)
