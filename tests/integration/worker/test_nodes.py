"""Two worker nodes on one stack, each with its own name and folders: jobs spread, one is drained, one dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from core import processes
from core.contract.errors import NotFound
from core.contract.states import JobState
from core.db import attempts, events, nodes, seats
from core.db.engine import transaction
from core.db.tables import Attempt, Node
from core.objects.store import Store
from core.queue import QUEUE, ring
from tests.integration.worker.conftest import ROOT, Submit, job_row, start_worker, worker_environment
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.waiting import until
from worker.workspace import Workspace

Workers = dict[str, "subprocess.Popen[bytes]"]


@pytest.fixture
def workers(service: dict[str, str], tmp_path: Path) -> Iterator[Workers]:
    made: Workers = {}
    for name in ("n1", "n2"):
        own = {"PALATE_NODE": name, "PALATE_SLOTS": "1"}
        folders = {"PALATE_SCRATCH": str(tmp_path / name), "PALATE_CACHE": str(tmp_path / name / "cache")}
        made[name] = start_worker(service, tmp_path / f"{name}.log", **own, **folders)
    until(lambda: {"n1", "n2"} <= known(), "both nodes")
    yield made
    for process in made.values():
        process.kill()
        process.wait()


def known() -> set[str]:
    with transaction() as session:
        return {node.name for node in nodes.known(session)}


def attempt(job_id: str, epoch: int) -> Attempt:
    with transaction() as session:
        return session.get_one(Attempt, (job_id, epoch))


def node_of(job_id: str, epoch: int) -> str:
    return attempt(job_id, epoch).node


def test_jobs_spread_and_a_drained_node_hands_over(
    workers: Workers, submit: Submit, store: Store, tmp_path: Path
) -> None:
    first, second = (submit(steps=20, step_seconds=0.2) for _ in range(2))
    ring()
    for job in (first, second):
        with_resume_point(job)
    assert {node_of(first, 1), node_of(second, 1)} == {"n1", "n2"}
    drained = node_of(first, 1)
    with transaction() as session:
        nodes.drain(session, drained)
    left = until(lambda: (found := attempt(first, 1)).ended_at and found, "the first job to leave")
    assert (left.outcome, left.failure_class) == ("preempted", None), left.detail
    assert not any(process.alive() for process in space(tmp_path / drained, first).processes())
    for job in (first, second):
        assert finished(job) == JobState.SUCCEEDED
        assert weights(store, job) == chain(job_row(job).training_digest or "", 20)
    assert node_of(first, 2) == node_of(second, 1) != drained
    assert (job_row(first).retries, job_row(first).epoch) == (0, 2), "nobody's failure"

    with transaction() as session:
        assert attempts.open_on(session, drained) == []
        nodes.drain(session, drained, on=False)
    other = submit(steps=2)
    also = submit(steps=2)
    ring()
    assert finished(other) == finished(also) == JobState.SUCCEEDED


def test_a_node_that_dies_leaves_its_job_to_the_other(
    workers: Workers, submit: Submit, store: Store, tmp_path: Path
) -> None:
    """Worker, supervisor and ranks at once: nobody is left there to tell. The lease decides (6 s at this scale)."""
    job = submit(steps=12, step_seconds=0.2)
    ring()
    with_resume_point(job)
    dead = node_of(job, 1)
    here = space(tmp_path / dead, job)
    supervisor = processes.read(here.supervisor)
    assert supervisor is not None
    os.kill(workers[dead].pid, signal.SIGKILL)
    supervisor.kill()
    processes.kill_all(here.processes())
    assert finished(job) == JobState.SUCCEEDED
    assert node_of(job, 2) != dead
    assert weights(store, job) == chain(job_row(job).training_digest or "", 12)
    with transaction() as session:
        said = [event.message for event in events.page(session, job, None, 100)[0]]
    assert any("was not heard of any more" in message for message in said)


def test_a_full_node_passes_the_bell_on(
    own_redis: "redis.Redis", service: dict[str, str], submit: Submit, tmp_path: Path
) -> None:
    """The other one looks by itself only once in a thousand seconds."""
    fill("n1", submit)
    worker = start_worker(service, tmp_path / "n2.log", PALATE_NODE="n2", PALATE_SWEEP_SECONDS="10000")
    try:
        until(lambda: "n2" in known(), "the other node")
        job = submit(steps=2)
        assert heard(service, "n1", hops=0) == 0
        assert finished(job) == JobState.SUCCEEDED
    finally:
        worker.kill()
        worker.wait()
    assert node_of(job, 1) == "n2"


def test_a_bell_is_not_passed_on_for_ever(own_redis: "redis.Redis", service: dict[str, str], submit: Submit) -> None:
    fill("n1", submit)
    with transaction() as session:
        nodes.seen(session, "n2", 1, 0)
    submit(steps=2)
    for hops, passed_on in ((2, 1), (3, 0)):
        assert heard(service, "n1", hops=hops) == 0
        assert own_redis.llen(QUEUE) == passed_on
        own_redis.delete(QUEUE)


def fill(node: str, submit: Submit) -> None:
    """Its only slot is taken."""
    submit()
    with transaction() as session:
        nodes.seen(session, node, 1, 0)
        assert attempts.claim(session, node=node, owner="o", lease_seconds=600)


def heard(service: dict[str, str], node: str, hops: int) -> int:
    """What a worker of this node starts when it gets the message."""
    command = [sys.executable, "-c", f"from worker.celery_app import wake; print(wake(hops={hops}))"]
    slots = {"PALATE_NODE": node, "PALATE_SLOTS": "1", "PALATE_TASK_SLOTS": "0"}
    environment = worker_environment(service, **slots)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def space(scratch: Path, job_id: str) -> Workspace:
    return Workspace(scratch / "attempts" / job_id / "a1")


def test_a_drained_node_claims_nothing(service: dict[str, str], submit: Submit) -> None:
    with transaction() as session:
        nodes.seen(session, "alone", 2, 2)
    job = submit()
    with transaction() as session:
        nodes.drain(session, "alone")
        assert attempts.claim(session, node="alone", owner="o", lease_seconds=60) is None
        nodes.seen(session, "alone", 2, 2)
        assert session.get_one(Node, "alone").draining, "being seen changes nothing"
        nodes.drain(session, "alone", on=False)
        lease = attempts.claim(session, node="alone", owner="o", lease_seconds=60)
        assert lease is not None
        assert lease.job_id == job
        assert seats.used(session)["alone"] == 1
    with pytest.raises(NotFound, match="alone"), transaction() as session:
        nodes.drain(session, "nobody")
