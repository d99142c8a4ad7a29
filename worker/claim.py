"""Taking work for this node until nothing more fits. Whoever calls it, and how often, changes nothing but latency."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core import ids, processes, settings
from core.contract.states import FailureClass, Outcome
from core.db import attempts, checkpoints, nodes, tasks
from core.db.attempts import Ending, Lease
from core.db.engine import transaction
from core.db.tasks import TaskClaim
from worker import node_facts, spawn, workspace
from worker.standby import Standby

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()
_supervisor = Standby("worker.supervisor")
T = TypeVar("T")


def claim_all() -> int:
    """Spawns a supervisor for each claimed attempt and task; returns how many."""
    with _one_at_a_time:
        own = settings.worker()
        told = node_facts.facts().model_dump(exclude={"rates"})
        with transaction() as session:
            nodes.seen(session, own.node, own.slots, own.task_slots, told)
        clean()
        claimed = _until_none(claim_task, start_task) + _until_none(claim_attempt, start_attempt)
        if not claimed:
            _supervisor.make(supervisors_log())
        return claimed


def elsewhere() -> bool:
    """Whether a job waits that did not fit here, and another node may have heard nothing of it."""
    with transaction() as session:
        return attempts.wait(session) and nodes.others(session, settings.worker().node)


def _until_none(claim: Callable[[], T | None], start: Callable[[T], None]) -> int:
    count = 0
    while (claimed := claim()) is not None:
        start(claimed)
        count += 1
    return count


def claim_attempt() -> Lease | None:
    own = settings.worker()
    with transaction() as session:
        return attempts.claim(session, node=own.node, owner=ids.row_id(), lease_seconds=own.scaled(own.lease_seconds))


def claim_task() -> TaskClaim | None:
    own = settings.worker()
    with transaction() as session:
        return tasks.claim(session, node=own.node, owner=ids.row_id(), lease_seconds=own.scaled(own.task_lease_seconds))


def start_attempt(lease: Lease) -> None:
    log.info("attempt %d of %s starts", lease.epoch, lease.job_id)
    _supervisor.start(lease.job_id, str(lease.epoch), lease.owner, log=supervisors_log())


def supervisors_log() -> Path:
    return settings.worker().scratch / "logs" / "supervisors.log"


def start_task(claim: TaskClaim) -> None:
    log.info("task %s %s starts", claim.kind, claim.subject)
    path = settings.worker().scratch / "logs" / "tasks.log"
    spawn.detached("worker.task", claim.id, str(claim.epoch), claim.owner, claim.kind, claim.subject, log=path)


def clean() -> None:
    """No process of an ended attempt lives on this node, and no attempt of a dead supervisor holds its slots."""
    with transaction() as session:
        held = {(lease.job_id, lease.epoch): lease for lease in attempts.open_on(session, settings.worker().node)}
    for job_id, epoch, space in workspace.all_here():
        lease = held.get((job_id, epoch))
        supervisor = processes.read(space.supervisor)
        if lease is not None and (supervisor is None or supervisor.alive()):
            continue
        if lease is None and supervisor is not None and supervisor.alive():
            continue  # it is closing, or it will be fenced: it ends its processes itself
        if not processes.kill_all(space.processes()):
            log.error("processes of %s a%d do not end", job_id, epoch)
            continue
        space.remove()
        if lease is not None:
            lost(lease, "the supervisor died")


def lost(lease: Lease, reason: str, *, lapsed_for: float | None = None) -> None:
    """Closes an attempt whose holder is dead for certain, or (`lapsed_for` seconds) whose lease ran out."""
    with transaction() as session:
        again = attempts.retries_of(session, lease) < settings.worker().infra_attempts - 1
        error = {"code": "attempt_lost", "message": reason, "param": None}
        ending = Ending(Outcome.LOST, failure=FailureClass.INFRA, error=error, retry=again)
        if lapsed_for is None:
            state = attempts.close(session, lease, ending)
        else:
            state = attempts.take_over(session, lease, ending, lapsed_for)
        if state.terminal:
            checkpoints.drop_resume_points(session, lease.job_id)
