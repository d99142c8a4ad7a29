"""Taking work for this node until nothing more fits. Whoever calls it, and how often, changes nothing but latency."""

import logging
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from core import disk, ids, processes, settings
from core.contract.errors import Unavailable
from core.contract.states import FailureClass, JobState, Outcome
from core.db import attempts, checkpoints, nodes, seats, tasks
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.tasks import TaskClaim
from worker import cache, close, devices, node_facts, spawn, workspace

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()
_nursery = spawn.Nursery()
T = TypeVar("T")
POISON_NODES = 2
# Owners of claims that the database did not answer: what they hold, if anything, is found by that name.
_in_doubt: list[str] = []


def claim_all() -> int:
    """Spawns a supervisor for each claimed attempt and task; returns how many."""
    with _one_at_a_time:
        own = settings.worker()
        told, named = node_facts.told(), devices.names()
        with transaction() as session:
            nodes.seen(session, own.node, len(named), own.task_slots, told, named)
        clean()
        start_doubtful()
        if not has_room():
            return 0
        claimed = _until_none(claim_task, start_task) + _until_none(claim_attempt, start_attempt)
        if not claimed:
            _nursery.make(log_of("nursery"))
        return claimed


def has_room() -> bool:
    """On the disk; what nobody uses goes first."""
    own = settings.worker()
    if min(disk.free(own.scratch), disk.free(own.cache)) >= own.free_bytes:
        return True
    cache.make_room(0)
    left = min(disk.free(own.scratch), disk.free(own.cache))
    if left < own.free_bytes:
        log.error(
            "%s claims nothing: %d bytes left on its disk, PALATE_FREE_BYTES is %d", own.node, left, own.free_bytes
        )
    return left >= own.free_bytes


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
    own, owner = settings.worker(), ids.row_id()
    try:
        with transaction() as session:
            return attempts.claim(
                session,
                node=own.node,
                owner=owner,
                lease_seconds=own.scaled(own.lease_seconds),
                head_seconds=own.scaled(own.head_seconds),
            )
    except Unavailable:
        _in_doubt.append(owner)
        raise


def start_doubtful() -> None:
    """Attempts that were claimed here, and only the answer was lost."""
    while _in_doubt:
        with transaction() as session:
            lease = attempts.of_owner(session, _in_doubt[-1])
        _in_doubt.pop()
        if lease is not None:
            start_attempt(lease)


def claim_task() -> TaskClaim | None:
    own = settings.worker()
    with transaction() as session:
        return tasks.claim(session, node=own.node, owner=ids.row_id(), lease_seconds=own.scaled(own.task_lease_seconds))


def start_attempt(lease: Lease) -> None:
    """What cannot be started is closed at once: its lease would have to run out first."""
    log.info("attempt %d of %s starts", lease.epoch, lease.job_id)
    try:
        _nursery.start("worker.supervisor", lease.job_id, str(lease.epoch), lease.owner, log=log_of("supervisors"))
    except (OSError, subprocess.SubprocessError) as error:
        log.exception("attempt %d of %s", lease.epoch, lease.job_id)
        lost(lease, f"node {settings.worker().node} could not start it: {error}")


def start_task(claim: TaskClaim) -> None:
    log.info("task %s %s starts", claim.kind, claim.subject)
    words = (claim.id, str(claim.epoch), claim.owner, claim.kind, claim.subject)
    _nursery.start("worker.task", *words, log=log_of("tasks"))


def log_of(programs: str) -> Path:
    return settings.worker().scratch / "logs" / f"{programs}.log"


def clean() -> None:
    """No rank of an ended attempt lives on this node, and no attempt of a dead supervisor holds its devices; no folder
    of a dead task takes space.

    The devices of ranks that will not die stay in use.
    """
    with transaction() as session:
        held = {(lease.job_id, lease.epoch): lease for lease in attempts.open_on(session, settings.worker().node)}
        running = tasks.running_on(session, settings.worker().node)
        left = set(seats.left_on(session, settings.worker().node))
    workspace.remove_tasks_but({workspace.of_task(claim.id, claim.epoch) for claim in running})
    for job_id, epoch, space in workspace.all_here():
        lease = held.get((job_id, epoch))
        supervisor = processes.read(space.supervisor)
        if lease is not None and (supervisor is None or supervisor.alive()):
            continue
        if not processes.kill_all(space.processes()):
            log.error("processes of %s a%d do not end", job_id, epoch)
            left.discard((job_id, epoch))
            continue
        if lease is None and supervisor is not None and supervisor.alive():
            continue  # it is closing, or a zombie that will find itself fenced: it leaves by itself
        space.remove()
        if lease is not None:
            lost(lease, "the supervisor died")
    end_seats(left)


def end_seats(left: Iterable[tuple[str, int]]) -> None:
    """Nothing lives any more of these ended attempts."""
    with transaction() as session:
        for job_id, epoch in left:
            seats.end(session, job_id, epoch)


def lost(lease: Lease, reason: str) -> None:
    """Closes an attempt whose holder is dead for certain, while its node lives."""
    with transaction() as session:
        ending = interrupted(Outcome.FAILED, reason, attempts.retries_of(session, lease))
        ended(session, lease, attempts.close(session, lease, ending))


def lapsed(lease: Lease, grace_seconds: float, *, reachable: bool) -> None:
    """Closes an attempt whose lease ran out.

    `reachable`: the database was, all that time; so if nothing was heard of the whole node either, it died. A job under
    which two nodes did is not given a third.
    """
    with transaction() as session:
        own, retries = settings.worker(), attempts.retries_of(session, lease)
        silent = reachable and attempts.node_silent(session, lease, own.scaled(own.lease_seconds / 2))
        outcome = Outcome.LOST if silent else Outcome.FAILED
        ending = interrupted(outcome, "its worker was not heard of any more", retries)
        if silent and len(killed := attempts.nodes_killed(session, lease)) >= POISON_NODES:
            ending = quarantined(sorted(killed))
        ended(session, lease, attempts.take_over(session, lease, ending, grace_seconds))


def interrupted(outcome: Outcome, reason: str, retries: int) -> Ending:
    error = {"code": "attempt_lost", "message": reason, "param": None}
    again = retries < settings.worker().infra_attempts - 1
    delay = close.backoff(retries)
    return Ending(outcome, failure=FailureClass.INFRA, error=error, retry=again, delay_seconds=delay)


def quarantined(killed: list[str]) -> Ending:
    message = (
        f"Nodes {' and '.join(killed)} both fell silent while they ran this job; it is not tried on another. "
        "Ask the operator to look at them before you create it again."
    )
    error = {"code": "quarantined", "message": message, "param": None}
    return Ending(Outcome.LOST, failure=FailureClass.POISON, error=error)


def ended(session: Session, lease: Lease, state: JobState) -> None:
    if state.terminal:
        checkpoints.drop_resume_points(session, lease.job_id)
