"""One Task from claim to commit: `python -m worker.task ID EPOCH OWNER KIND SUBJECT`, in a process of its own."""

import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core import landlock, queue, settings
from core import log as logs
from core.contract.errors import Fenced, PalateError, Unavailable
from core.contract.states import TaskKind
from core.db import admission, files, jobs, tasks
from core.db.engine import Session, transaction
from core.db.tables import Job
from core.db.tasks import TaskClaim
from core.disk import is_full
from core.objects.store import Store
from worker import child, inspect, lifeline, orphans, workspace
from worker.validate_task import validate

log = logging.getLogger(__name__)
RETRY_SECONDS = 2.0


def main(argv: list[str], store: Store) -> int:
    landlock.hide()
    logs.setup("task")
    lifeline.watch()
    claim = TaskClaim(argv[0], int(argv[1]), argv[2], TaskKind(argv[3]), argv[4])
    folder = workspace.of_task(claim.id, claim.epoch)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run(claim, folder, store)
    except Fenced as error:
        log.warning("%s", error)
    except Exception as error:
        if not isinstance(error, PalateError):
            log.exception("task %s %s", claim.kind, claim.subject)
        lose(claim, str(error), its_own=not of_the_node(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        queue.ring()
    return 0


def of_the_node(error: Exception) -> bool:
    """The database or the store was away, or the disk full, here or in the child: no fault of the file."""
    if isinstance(error, child.ChildFailed):
        return error.last_line.startswith("no_space")
    return isinstance(error, Unavailable) or is_full(error)


def run(claim: TaskClaim, folder: Path, store: Store) -> None:
    alive = renewer(claim)
    match claim.kind:
        case TaskKind.VALIDATE_FILE:
            validate(claim, folder, store, alive)
        case TaskKind.INSPECT:
            inspect.inspect(claim, folder, store, alive)
        case TaskKind.DELETE_OBJECTS:
            delete_objects(claim, store)
        case TaskKind.COLLECT_ORPHANS:
            orphans.collect(claim, store)


def renewer(claim: TaskClaim) -> Callable[[], None]:
    """Renews the lease when a quarter of it has passed; raises Fenced when it is another's."""
    own = settings.worker()
    lease_seconds = own.scaled(own.task_lease_seconds)
    renewed = time.monotonic()

    def alive() -> None:
        nonlocal renewed
        if time.monotonic() - renewed > lease_seconds / 4:
            with transaction() as session:
                tasks.hold(session, claim, lease_seconds)
            renewed = time.monotonic()

    return alive


def delete_objects(claim: TaskClaim, store: Store) -> None:
    """A folder when the subject ends with a slash, else one object, with the upload that was to become it; canonical
    records and what was computed of them go with their last user."""
    payload = orphans.asked(claim)
    if claim.subject.endswith("/"):
        store.delete_prefix(claim.subject)
    else:
        if "store_upload_id" in payload:
            store.abort_multipart(claim.subject, payload["store_upload_id"])
        store.delete(claim.subject)
    digest = payload.get("canonical_digest")
    if digest:
        orphans.of_canonical(claim, store, digest)
    with transaction() as session:
        tasks.finish(session, claim)


def lose(claim: TaskClaim, reason: str, *, its_own: bool) -> None:
    """Queued again, later each time; at the third loss of its own the subject hears of it.

    While the database is away, until the lease has run out: then the sweeper takes it from here.
    """
    log.warning("task %s %s lost: %s", claim.kind, claim.subject, reason)
    own = settings.worker()
    delay = own.scaled(min(RETRY_SECONDS * 2 ** (claim.epoch - 1), own.backoff_limit_seconds))
    deadline = time.monotonic() + own.scaled(own.task_lease_seconds)
    while True:
        try:
            with transaction() as session:
                if tasks.lose(session, claim, reason, delay, its_own=its_own):
                    give_up(session, claim)
            return
        except Unavailable as error:
            log.warning("%s", error)
            if time.monotonic() > deadline:
                return
            time.sleep(own.scaled(RETRY_SECONDS))
        except PalateError as error:  # another holder or the sweeper takes it from here
            log.warning("%s", error)
            return


def give_up(session: Session, claim: TaskClaim) -> None:
    """The third loss: a file is refused, a job that waits for an inspection fails."""
    if claim.kind == TaskKind.VALIDATE_FILE:
        details = "The validator crashed three times on this file; send it in smaller parts or report it."
        files.refused(session, claim.subject, code="validation_crashed", details=details)
        for job_id in admission.waiting(session, file_id=claim.subject):
            admission.advance(session, job_id)
    elif claim.kind == TaskKind.INSPECT:
        task = tasks.get(session, claim.id)
        for job_id in admission.waiting_for_inspection(session, task.payload if task else {}):
            fail_inspection(session, jobs.locked(session, job_id))


def fail_inspection(session: Session, job: Job) -> None:
    message = "The inspection of the training file with this model crashed three times; the operator's log says why."
    jobs.fail(session, job, code="inspection_crashed", message=message, param="training_file")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Store.from_settings()))
