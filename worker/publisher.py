"""Sealed checkpoints and resume points to the store while training goes on; the row commits last."""

import logging
import queue
import threading
from functools import partial
from pathlib import Path

from core import beneath
from core.contract import manifest as manifests
from core.contract.errors import PalateError
from core.contract.trainer_events import CheckpointSealed, ReferenceSealed, ResumePointSealed, Verified
from core.db import attempts, checkpoints, jobs
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.events import NewEvent
from core.db.events import append as append_event
from core.disk import rename
from core.objects import keys
from core.objects.store import Store
from worker import references
from worker.patience import patiently
from worker.workspace import Workspace

log = logging.getLogger(__name__)

Sealed = CheckpointSealed | ResumePointSealed | ReferenceSealed
Said = Sealed | Verified


class Publisher:
    """A thread with a queue; `failure` holds why it gave up, and then nothing more is published.

    `committed`: a checkpoint or resume point of this attempt is listed. `trained`: so is the finished model.
    `verified_step`: its step, once it was found to be the one that was trained.
    """

    def __init__(self, lease: Lease, workspace: Path, store: Store, *, lease_seconds: float, keep: int) -> None:
        self._lease = lease
        self._workspace = workspace
        self._store = store
        self._lease_seconds = lease_seconds
        self._keep = keep
        self._queue: queue.Queue[Said | None] = queue.Queue()
        self.failure: PalateError | OSError | None = None
        self.committed = False
        self.trained = False
        self.verified_step: int | None = None
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
        self._thread.start()

    def take(self, said: Said) -> None:
        self._queue.put(said)

    @property
    def busy(self) -> bool:
        return self._queue.unfinished_tasks > 0 and self.failure is None

    def finish(self) -> None:
        """Returns when all that was taken is published; raises what stopped it."""
        self._queue.put(None)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        while (said := self._queue.get()) is not None:
            what = "noting the verdict" if isinstance(said, Verified) else f"publishing {said.path}"
            try:
                if self.failure is None:
                    patiently(partial(self._publish, said), what)
            except (PalateError, OSError) as error:
                self.failure = error
            except Exception as error:  # the thread must not die unheard: the supervisor raises it
                log.exception("%s", what)
                self.failure = PalateError(f"Failed at {what}: {error!r}.")
            finally:
                self._queue.task_done()

    def _publish(self, sealed: Said) -> None:
        if isinstance(sealed, Verified):
            self._verdict(sealed)
            return
        if isinstance(sealed, ReferenceSealed):
            references.keep(sealed, self._workspace, self._lease, self._lease_seconds, self._store)
            return
        try:
            with beneath.folder(self._workspace, sealed.path) as folder:
                manifest = manifests.read(folder)
                if isinstance(sealed, ResumePointSealed):
                    self._resume_point(sealed, folder, manifest)
                else:
                    self._checkpoint(sealed, folder, manifest)
        except FileNotFoundError:
            if isinstance(sealed, ResumePointSealed) and not (self._workspace / sealed.path).exists():
                self._gone(sealed.step)
                return
            raise
        beneath.remove(self._workspace, sealed.path)
        if isinstance(sealed, ResumePointSealed):
            self._settled(sealed.step)

    def _gone(self, step: int) -> None:
        """The job goes on, with the points that it has."""
        lease = self._lease
        message = f"The resume point of step {step} was gone from the node's disk before it was stored: it is given up."
        event = NewEvent(message, level="warn", data={"type": "resume_point_gone", "step": step})
        with transaction() as session:
            jobs.locked(session, lease.job_id)
            attempts.hold(session, lease, self._lease_seconds)
            append_event(session, lease.job_id, event)
        self._settled(step)

    def _settled(self, step: int) -> None:
        """The trainer may begin another (trainer.points): this one is stored, or given up."""
        stored = Workspace(self._workspace).stored
        rename(beneath.partial(stored, str(step)), stored)

    def _resume_point(self, sealed: ResumePointSealed, folder: Path, manifest: manifests.Manifest) -> None:
        job_id, epoch = self._lease.job_id, self._lease.epoch
        prefix = keys.resume_point(job_id, epoch, sealed.step)
        self._store.upload_folder(folder, manifest, prefix)
        commit_resume_point(self._lease, self._lease_seconds, sealed.step, prefix, manifest)
        self.committed = True

    def _checkpoint(self, sealed: CheckpointSealed, folder: Path, manifest: manifests.Manifest) -> None:
        """One that an earlier epoch committed with the same content is not stored again.

        What the last one is verified by holds answers of the data: it goes into its row, and into no manifest.
        """
        proof = manifest.meta.get("proof") if sealed.final else None
        manifest = manifest.model_copy(update={"meta": {k: v for k, v in manifest.meta.items() if k != "proof"}})
        job_id, epoch = self._lease.job_id, self._lease.epoch
        with transaction() as session:
            there = checkpoints.digest_at(session, job_id, sealed.step) == manifest.digest()
        prefix = keys.checkpoint(job_id, epoch, sealed.step)
        if not there:
            self._store.upload_folder(folder, manifest, prefix)
        with transaction() as session:
            job = jobs.locked(session, job_id)
            attempts.hold(session, self._lease, self._lease_seconds)
            if not there:
                checkpoints.commit(
                    session,
                    job,
                    epoch=epoch,
                    step=sealed.step,
                    prefix=prefix,
                    manifest=manifest,
                    metrics=checkpoints.figures(sealed.metrics),
                    proof=proof,
                )
                checkpoints.prune(session, job_id, self._keep)
            else:
                append_event(session, job_id, NewEvent(f"Checkpoint at step {sealed.step} is stored already."))
                if proof is not None:
                    checkpoints.prove(session, job_id, sealed.step, proof)
        self.committed |= not there
        self.trained |= sealed.final

    def _verdict(self, said: Verified) -> None:
        """Whether what is stored, loaded again, is what was trained."""
        lease = self._lease
        with transaction() as session:
            jobs.locked(session, lease.job_id)
            attempts.hold(session, lease, self._lease_seconds)
            checkpoints.verified(session, lease.job_id, said.step, passed=said.passed)
        self.trained = True
        if said.passed:
            self.verified_step = said.step


def commit_resume_point(
    lease: Lease, lease_seconds: float, step: int, prefix: str, manifest: manifests.Manifest
) -> None:
    """The row, once the bytes are stored; raises Fenced when the attempt is no longer held."""
    with transaction() as session:
        jobs.locked(session, lease.job_id)
        attempts.hold(session, lease, lease_seconds)
        checkpoints.commit_resume_point(
            session, lease.job_id, epoch=lease.epoch, step=step, prefix=prefix, manifest=manifest
        )
