"""A supervisor stopped past its lease and then continued: its slots stay its node's, and it writes nothing more."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core import processes, settings
from core.contract.states import JobState, Outcome
from core.db import attempts, nodes
from core.db.attempts import Ending, Lease
from core.db.engine import transaction
from core.db.tables import Attempt
from core.objects.store import Store
from core.processes import Process
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.rows import make_job
from tests.waiting import until
from worker import claim, workspace

FREEZER = Path("/sys/fs/cgroup/freezer")


@dataclass(frozen=True)
class Frozen:
    """SIGKILL does nothing to it until it is thawed."""

    process: Process
    state: Path

    def thaw(self) -> None:
        self.state.write_text("THAWED")
        until(lambda: not self.process.alive(), "the kill that waited")


@pytest.fixture
def freeze() -> Iterator[Callable[[Path], Frozen]]:
    """A process at work in the folder that it is given. Skips the test where this machine has no freezer in which a
    kill waits."""
    folder = FREEZER / f"palate-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"a process that outlives SIGKILL is made by root in the freezer of cgroups v1, not here ({error})")
    state = folder / "freezer.state"
    made: list[subprocess.Popen[bytes]] = []

    def frozen(at: Path) -> Frozen:
        process = waiting(at)
        made.append(process)
        (folder / "cgroup.procs").write_text(str(process.pid))
        state.write_text("FROZEN")
        until(lambda: state.read_text() == "FROZEN\n", "the freezer")
        return Frozen(processes.of(process.pid), state)

    try:
        yield frozen
    finally:
        state.write_text("THAWED")
        for process in made:
            process.kill()
            process.wait()
    until(lambda: not (folder / "cgroup.procs").read_text(), "the freezer to be empty")
    folder.rmdir()


def waiting(at: Path) -> "subprocess.Popen[bytes]":
    """A process at work in that folder."""
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], cwd=at)


def claimed(slots: int) -> tuple[Lease, Path]:
    """An attempt that takes all slots of this node, and the folder in which its ranks sign."""
    with transaction() as session:
        nodes.seen(session, settings.worker().node, slots, 1)
        make_job(session, state=JobState.QUEUED, ranks=slots)
    lease = claim.claim_attempt()
    assert lease is not None
    ranks = workspace.of(lease).path / "ranks"
    ranks.mkdir(parents=True)
    return lease, ranks


def test_slots_of_ranks_that_do_not_die_are_not_given_away(
    service: dict[str, str], freeze: Callable[[Path], Frozen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt has ended, and one of its two ranks lives on."""
    monkeypatch.setattr(processes.kill_all, "__defaults__", (1.0,))  # seconds until it says so
    lease, ranks = claimed(2)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        processes.of(dead.pid).sign(ranks / "0.json")
    frozen = freeze(ranks.parent)
    frozen.process.sign(ranks / "1.json")
    with transaction() as session:
        attempts.close(session, lease, Ending(Outcome.PREEMPTED), seats_end=False)
    claim.clean()
    assert claim.claim_attempt() is None
    assert workspace.of(lease).path.exists(), "it is looked at again"
    frozen.thaw()
    claim.clean()
    assert not workspace.of(lease).path.exists()
    again = claim.claim_attempt()
    assert again is not None
    assert (again.job_id, again.epoch) == (lease.job_id, 2)


def test_ranks_of_what_a_sweeper_closed_are_dead_when_their_devices_are_given_away(service: dict[str, str]) -> None:
    first, ranks = claimed(1)
    with waiting(ranks.parent) as rank:
        processes.of(rank.pid).sign(ranks / "0.json")
        with transaction() as session:
            attempts.hold(session, first, -60)
            attempts.take_over(session, first, Ending(Outcome.PREEMPTED), 0)
        assert claim.claim_attempt() is None, "it lives"
        claim.clean()
        died = rank.poll()
        rank.kill()
    assert died == -signal.SIGKILL
    second = claim.claim_attempt()
    assert second is not None
    claim.start_attempt(second)

    def ended() -> bool:
        with transaction() as session:
            return session.get_one(Attempt, (second.job_id, 2)).ended_at is not None

    until(ended, "the end of an attempt at a job without a model")


def test_a_zombie_writes_nothing_and_leaves(started: StartWorker, submit: Submit, store: Store) -> None:
    started()
    job_id = submit(steps=40, step_seconds=0.4)
    ring()
    with_resume_point(job_id)
    space = workspace.of(Lease(job_id, 1, ""))
    supervisor = processes.read(space.supervisor)
    assert supervisor is not None
    ranks = space.processes()
    assert ranks
    os.kill(supervisor.pid, signal.SIGSTOP)
    with transaction() as session:
        stopped_at = session.get_one(Attempt, (job_id, 1)).step

    def taken_over() -> Attempt | None:
        with transaction() as session:
            found = session.get_one(Attempt, (job_id, 1))
            return found if found.ended_at else None

    first = until(taken_over, "the lease to run out")
    assert (first.outcome, first.failure_class) == ("failed", "infra")

    def second() -> Attempt | None:
        with transaction() as session:
            return session.get(Attempt, (job_id, 2))

    until(second, "the second attempt")
    assert not any(process.alive() for process in ranks), "their slots are free when nothing of them is alive"
    assert '"finished"' not in space.events.read_text(), "they were killed, and did not come to their own end"
    assert supervisor.alive()
    os.kill(supervisor.pid, signal.SIGCONT)
    until(lambda: not supervisor.alive(), "the zombie to leave")
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        first = session.get_one(Attempt, (job_id, 1))
    assert (first.outcome, first.step) == ("failed", stopped_at)
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 40)
    assert_whole(store)
