"""Two jobs of two devices on a node of four, by a live worker whose trainer says which devices it was shown."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.main import main
from cli.nodes import isolated
from core.contract.states import JobState
from core.db import seats
from core.db.engine import transaction
from core.db.tables import Event, Job, Node
from core.queue import ring
from tests.integration.worker.conftest import Submit, job_row, start_worker
from tests.integration.worker.test_attempts import finished
from tests.support.driver import FOUR, put_driver
from tests.waiting import until
from worker import isolation


@pytest.fixture
def worker(service: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with four_gpus(service, tmp_path) as process:
        yield process


@contextmanager
def four_gpus(service: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker on a node that shows so many."""
    found = f"{put_driver(tmp_path, FOUR)}{os.pathsep}{os.environ['PATH']}"
    process = start_worker(service, tmp_path / "worker.log", PATH=found, PALATE_SLOTS="0")
    yield process
    process.kill()
    process.wait()


def shown(job_id: str) -> list[set[str]]:
    """What the trainer saw, by attempt."""
    with transaction() as session:
        said = select(Event.data["devices"].astext).where(Event.job_id == job_id, Event.data.has_key("devices"))
        return [set(each.split(",")) for each in session.scalars(said.order_by(Event.seq))]


def test_a_job_keeps_the_precision_of_its_first_attempt(
    service: dict[str, str], tmp_path: Path, submit: Submit
) -> None:
    """One begins here, on a GPU; the other began on a CPU, and its resume points are of fp32."""
    fresh, begun = submit(steps=2), submit(steps=2)
    with transaction() as session:
        session.get_one(Job, begun).resolved = {"precision": "fp32"}
    with four_gpus(service, tmp_path):
        ring()
        for job_id, precision in ((fresh, "bf16"), (begun, "fp32")):
            assert finished(job_id) == JobState.SUCCEEDED
            assert (job_row(job_id).resolved or {})["precision"] == precision


def test_two_jobs_have_devices_of_their_own(
    worker: "subprocess.Popen[bytes]", submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second attempt of one of them, and a third job, among them."""
    long = submit(ranks=2, steps=150, step_seconds=0.05, at={"100": "kill"})
    other = submit(ranks=2, steps=250, step_seconds=0.05)
    ring()
    until(lambda: shown(long) and shown(other), "both jobs to run")
    assert shown(long)[0] | shown(other)[0] == {"GPU-a0", "GPU-a1", "GPU-b2", "GPU-b3"}
    assert not shown(long)[0] & shown(other)[0]
    assert main(["nodes"]) == 0
    told = capsys.readouterr().out
    assert "n1  4 of 4 slots  takes work" in told
    with transaction() as session:
        event = session.scalars(select(Event).where(Event.message.startswith("Trainer started"))).first()
        node = session.scalars(select(Node)).one()
    assert event is not None
    assert event.data is not None
    assert event.data["isolation"] == node.facts["isolation"] == isolation.told()
    assert isolated(isolation.told()) in told
    assert f"GPU-a1: {long}, attempt 1, since" in told or f"GPU-a1: {other}, attempt 1, since" in told
    until(lambda: len(shown(long)) == 2, "the second attempt")
    assert not shown(long)[1] & shown(other)[0], "the other job still runs on its own"
    third = submit(ranks=4, steps=2)
    assert finished(long) == finished(other) == JobState.SUCCEEDED
    ring()
    assert finished(third) == JobState.SUCCEEDED
    assert shown(third) == [{"GPU-a0", "GPU-a1", "GPU-b2", "GPU-b3"}]
    with transaction() as session:
        assert seats.used(session) == {}


def test_a_device_that_fails_twice_is_given_to_nobody(
    worker: "subprocess.Popen[bytes]", submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submit(steps=4, broken="GPU-a0")
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    assert shown(job_id) == [{"GPU-a0"}, {"GPU-a0"}, {"GPU-a1"}]
    assert main(["nodes"]) == 0
    assert "  GPU-a0: given to no job, it failed 2 of them within the hour" in capsys.readouterr().out
    with transaction() as session:
        said = session.scalars(select(Event.message).where(Event.job_id == job_id)).all()
    assert [message for message in said if "(GPU GPU-a0 of the node failed.)" in message], said
