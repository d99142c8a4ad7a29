"""What died between its upload and its row: objects that no row names, uploads that nobody goes on with."""

import logging
import time
from collections.abc import Collection
from typing import Any

from core.contract.errors import Unavailable
from core.db import attempts, files, intakes, rank_logs, references, stored, tasks
from core.db.engine import Session, transaction
from core.db.tasks import TaskClaim
from core.objects import keys
from core.objects.parts import Unfinished
from core.objects.store import Store

log = logging.getLogger(__name__)


def collect(claim: TaskClaim, store: Store) -> None:
    """Rows are read first, then objects go, then the task ends: whoever dies in between begins again."""
    payload = asked(claim)
    digest = payload.get("canonical_digest")
    if payload and not digest:
        of_attempt(store, payload["job_id"], payload["epoch"])
    if digest:
        of_canonical(claim, store, digest)
    with transaction() as session:
        tasks.finish(session, claim)


def asked(claim: TaskClaim) -> dict[str, Any]:
    with transaction() as session:
        task = tasks.get(session, claim.id)
        return task.payload if task else {}


def of_canonical(claim: TaskClaim, store: Store, digest: str) -> None:
    """With what was computed of them, if nobody uses them. Who would name them from now on looks under the same lock,
    waits for this task's end, and makes them anew.
    """
    with transaction() as session:
        files.lock_canonical(session, digest)
        references.forget(session, digest)
        if files.canonical_in_use(session, digest):
            return
        tasks.deletes(session, claim, digest)
    store.delete(keys.canonical(digest))


def of_attempt(store: Store, job_id: str, epoch: int) -> None:
    kept, logs = still_named(job_id, epoch)
    found = [each.key for each in store.list(keys.attempt(job_id, epoch))]
    left = [key for key in found if key not in kept and not (logs and key.startswith(keys.logs(job_id, epoch)))]
    if left:
        store.delete(*left)
        log.info("%d objects of attempt %d of %s had no row", len(left), epoch, job_id)


def still_named(job_id: str, epoch: int) -> tuple[set[str], bool]:
    """(objects that a row names, whether the logs are kept) of an ended attempt: no row comes any more, for only its
    holder could write one."""
    with transaction() as session:
        if attempts.is_open(session, job_id, epoch):
            raise Unavailable(f"Attempt {epoch} of {job_id} is still open.")
        return stored.named(session, job_id, keys.attempt(job_id, epoch)), rank_logs.kept(session, job_id, epoch)


class StandingStill:
    """Multipart uploads without an intake and of no open attempt, to which nothing was added for a while."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[Unfinished, tuple[int, float]] = {}

    def abort(self, seconds: float) -> int:
        """Those that have had the same parts for so long, as far as this process has seen; returns how many."""
        now = time.monotonic()
        seen = {each: self._store.parts_sent(each) for each in self._store.unfinished()}
        before = self._seen
        self._seen = {
            each: before[each] if each in before and before[each][0] == parts else (parts, now)
            for each, parts in seen.items()
        }
        still = [each for each, (_, since) in self._seen.items() if now - since >= seconds]
        left = nobodys(still)
        for each in left:
            self._store.abort_multipart(each.key, each.upload_id)
            log.info("an upload of %s stood still and is aborted", each.key)
        return len(left)


def nobodys(uploads: Collection[Unfinished]) -> list[Unfinished]:
    """Those that no intake names and that are of no open attempt."""
    with transaction() as session:
        fed = intakes.fed(session, [each.upload_id for each in uploads])
        return [each for each in uploads if each.upload_id not in fed and not of_open_attempt(session, each.key)]


def of_open_attempt(session: Session, key: str) -> bool:
    attempt = keys.attempt_of(key)
    return attempt is not None and attempts.is_open(session, *attempt)
