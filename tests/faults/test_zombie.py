"""A supervisor stopped past its lease and then continued: its slots stay its node's, and it writes nothing more."""

import os
import signal

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
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.waiting import until
from worker import workspace


def test_a_zombie_writes_nothing_and_leaves(started: StartWorker, submit: Submit, store: Store) -> None:
    started()
    job_id = submit(steps=40, step_seconds=0.4)
    ring()
    with_resume_point(job_id)
    space = workspace.of(Lease(job_id, 1, ""))
    supervisor = processes.read(space.supervisor)
    assert supervisor is not None
    ranks = space.processes()
    os.kill(supervisor.pid, signal.SIGSTOP)
    with transaction() as session:
        stopped_at = session.get_one(Attempt, (job_id, 1)).step

    def taken_over() -> Attempt | None:
        with transaction() as session:
            found = session.get_one(Attempt, (job_id, 1))
            return found if found.ended_at else None

    first = until(taken_over, "the lease to run out")
    assert (first.outcome, first.failure_class) == ("failed", "infra")
    with transaction() as session:
        second = session.get(Attempt, (job_id, 2))
        used = nodes.used(session)
    if second is None:
        assert used == {}
    until(lambda: not any(process.alive() for process in ranks), "its ranks to die while it sleeps", 20)
    assert '"finished"' not in space.events.read_text(), "they were killed, and did not come to their own end"
    os.kill(supervisor.pid, signal.SIGCONT)
    until(lambda: not supervisor.alive(), "the zombie to leave")
    assert finished(job_id) == JobState.SUCCEEDED
    with transaction() as session:
        first = session.get_one(Attempt, (job_id, 1))
    assert (first.outcome, first.step) == ("failed", stopped_at)
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 40)
    assert_whole(store)
