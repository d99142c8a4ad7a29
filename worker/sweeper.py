"""The net under every message: a thread of each worker that looks itself, so that a lost bell costs only time."""

import logging
import math
import random
import threading
import time

from core import settings
from core.contract.errors import Fenced, PalateError, Unavailable
from core.contract.states import TaskKind
from core.db import admission, attempts, files, intakes, retention, seats, standings, tasks
from core.db.engine import transaction
from core.objects import keys
from core.objects.store import Store
from worker import claim
from worker.orphans import StandingStill
from worker.task import give_up

log = logging.getLogger(__name__)
INTAKE_SECONDS = 600.0
RETENTION_SECONDS = 3_600.0


class Sweeper:
    """`start()` returns at once; any number of sweepers on any number of nodes is safe."""

    def __init__(self) -> None:
        self._store = Store.from_settings()
        self._reached_since = math.inf
        self._retained = -math.inf
        self._uploads = StandingStill(self._store)
        self._looked = -math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _work(self) -> None:
        own = settings.worker()
        steps = [
            self.take_over,
            self.take_over_tasks,
            end_seats,
            admit,
            end_intakes,
            self.abort_uploads,
            expire,
            self.retain,
            tell_too_large,
            claim.claim_all,
        ]
        while True:
            for step in steps:
                try:
                    step()
                except Unavailable as error:
                    self._reached_since = math.inf
                    log.warning("%s: %s", step.__name__, error)
                except PalateError as error:
                    log.warning("%s: %s", step.__name__, error)
                except Exception:  # the next tick tries again; a thread that dies would be noticed by nobody
                    log.exception("%s", step.__name__)
            if self._stop.wait(own.scaled(own.sweep_seconds) * random.uniform(0.8, 1.2)):
                return

    def take_over(self) -> None:
        """Attempts whose lease ran out, on any node."""
        own = settings.worker()
        grace = own.scaled(own.takeover_grace_seconds)
        with transaction() as session:
            expired = attempts.expired(session, grace)
        self._reached_since = min(self._reached_since, time.monotonic())
        for lease in expired:
            try:
                claim.lapsed(lease, grace, reachable=self.reachable_for(own.scaled(own.lease_seconds) + grace))
            except Fenced:
                log.info("attempt %d of %s was closed meanwhile", lease.epoch, lease.job_id)

    def take_over_tasks(self) -> None:
        own = settings.worker()
        grace = own.scaled(own.takeover_grace_seconds)
        its_own = self.reachable_for(own.scaled(own.task_lease_seconds) + grace)
        with transaction() as session:
            for lapsed in tasks.expired(session, grace):
                if tasks.lose(session, lapsed, "its worker was not heard of any more", 0, its_own=its_own):
                    give_up(session, lapsed)

    def reachable_for(self, seconds: float) -> bool:
        """Whether the database was: a lease that ran out meanwhile says something about its holder."""
        return time.monotonic() - self._reached_since > seconds

    def retain(self) -> None:
        """Once an hour, and at each tick while more is due: what has been kept long enough goes."""
        if time.monotonic() - self._retained >= RETENTION_SECONDS and not retain():
            self._retained = time.monotonic()

    def abort_uploads(self) -> None:
        """Those of dead processes, looked for four times in the time that they have."""
        own = settings.worker()
        patience = own.scaled(own.orphan_seconds)
        if time.monotonic() - self._looked < patience / 4:
            return
        self._looked = time.monotonic()
        self._uploads.abort(patience)


def end_seats() -> None:
    """Of nodes that fell silent; a living one ends its own (worker.claim.clean)."""
    own = settings.worker()
    with transaction() as session:
        seats.end_silent(session, own.scaled(own.lease_seconds) + own.scaled(own.takeover_grace_seconds))


def admit() -> None:
    """Jobs whose files were judged while nobody told them."""
    with transaction() as session:
        waiting = admission.waiting(session)
    for job_id in waiting:
        with transaction() as session:
            admission.advance(session, job_id)


def end_intakes() -> None:
    """Uploads that nobody feeds."""
    with transaction() as session:
        intakes.remove(session, *intakes.stale(session, settings.worker().scaled(INTAKE_SECONDS)))


def tell_too_large() -> None:
    with transaction() as session:
        standings.tell_too_large(session)


def retain() -> bool:
    """A batch of each kind; whether one of them was full, so that more may be due."""
    return max(fail_paused(), drop_logs(), drop_history()) >= retention.BATCH


def fail_paused() -> int:
    with transaction() as session:
        return retention.fail_paused(session, settings.worker().paused_days)


def drop_logs() -> int:
    with transaction() as session:
        logs = retention.drop_logs(session, settings.worker().log_days)
        for job_id, epoch in logs:
            tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject=keys.logs(job_id, epoch))
        return len(logs)


def drop_history() -> int:
    with transaction() as session:
        histories = retention.drop_history(session, settings.worker().history_days)
        retention.drop_keys(session)
        return histories


def expire() -> None:
    with transaction() as session:
        files.expire(session)
