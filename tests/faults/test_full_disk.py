"""A node's disk is full: told as such, tried again with a bound, gone on with from what was committed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.contract.states import FileStatus, JobState
from core.db.engine import transaction
from core.db.tables import Attempt, Task
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole, said
from tests.faults.disk import Disk, small_disk
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.integration.worker.test_tasks import GOOD, Upload, file_of, left_validation
from tests.integration.worker.test_tasks import upload as upload  # a fixture
from tests.waiting import until

WORDS = "The disk of node n1 is full."


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "small", 4) as disk:
        yield disk


def start(started: StartWorker, disk: Disk, **more: str) -> None:
    """It finds no room when it is at work, since it asks for none before."""
    folders = {"PALATE_SCRATCH": str(disk.path / "scratch"), "PALATE_CACHE": str(disk.path / "cache")}
    started(**folders, **{"PALATE_FREE_BYTES": "0", **more})
    until(lambda: (disk.path / "scratch" / "logs").exists(), "the worker's first look")


def test_no_room_to_begin(scratch: Disk, started: StartWorker, submit: Submit, store: Store) -> None:
    start(started, scratch)
    scratch.fill()
    job_id = submit(steps=4)
    ring()
    until(lambda: any(WORDS in message for message in said(job_id)), "the word of the full disk")
    with transaction() as session:
        first = session.get_one(Attempt, (job_id, 1))
    assert (first.outcome, first.failure_class) == ("failed", "infra")
    scratch.free()
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 4)
    assert_whole(store)


def test_a_node_with_a_full_disk_leaves_the_job_to_another(
    scratch: Disk, started: StartWorker, submit: Submit, store: Store
) -> None:
    start(started, scratch, PALATE_FREE_BYTES=str(1 << 20))
    scratch.fill()
    job_id = submit(steps=4)
    ring()
    log = scratch.path.parent / "n1.log"
    until(lambda: "claims nothing" in log.read_text(), "its word")
    assert job_row(job_id).epoch == 0
    started(PALATE_NODE="n2")
    assert finished(job_id) == JobState.SUCCEEDED
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 4)
    with transaction() as session:
        assert session.get_one(Attempt, (job_id, 1)).node == "n2"
    assert_whole(store)


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_the_job_after_five_attempts(
    scratch: Disk, started: StartWorker, submit: Submit, store: Store
) -> None:
    start(started, scratch)
    scratch.fill()
    job_id = submit(steps=4)
    ring()
    assert finished(job_id, 120) == JobState.FAILED
    job = job_row(job_id)
    assert (job.epoch, job.error) == (5, {"code": "no_space", "message": WORDS, "param": None})
    assert_whole(store, ["models/"])


def test_no_room_to_seal(scratch: Disk, started: StartWorker, submit: Submit, store: Store) -> None:
    """The trainer ends; what was committed is gone on from, what was half sealed is not listed."""
    start(started, scratch)
    job_id = submit(steps=12, step_seconds=0.2)
    ring()
    with_resume_point(job_id)
    scratch.fill()

    def first() -> Attempt | None:
        with transaction() as session:
            found = session.get_one(Attempt, (job_id, 1))
            return found if found.ended_at else None

    ended = until(first, "the end of the first attempt")
    assert (ended.outcome, ended.failure_class) == ("failed", "infra")
    scratch.free()
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        again = session.get_one(Attempt, (job_id, job_row(job_id).epoch))
    assert (again.resumed_from_step or 0) >= 2
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 12)
    assert_whole(store)


@pytest.mark.slow
def test_no_room_to_validate_is_no_fault_of_the_file(
    scratch: Disk, started: StartWorker, upload: Upload, store: Store
) -> None:
    """With leases of 18 s: a task that is slow to start must not be taken for one that died."""
    start(started, scratch, PALATE_TIME_SCALE="0.3")
    scratch.fill()
    job = upload(GOOD)

    def tried() -> Task | None:
        with transaction() as session:
            return session.query(Task).filter(Task.epoch >= 3).first()

    assert until(tried, "three tries in vain").losses == 0
    assert file_of(job).status == FileStatus.UPLOADED
    scratch.free()
    assert left_validation(job).state != JobState.FAILED
    assert file_of(job).status == FileStatus.PROCESSED
    assert_whole(store, ["files/", "canonical/"])
