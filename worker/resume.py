"""What an attempt goes on from: the newest resume point whose every byte is what Postgres knows of it, or the finished
model that is only to be verified."""

import logging
import shutil
from collections.abc import Sequence

from core.contract import manifest as manifests
from core.contract.errors import NotFound, Unavailable
from core.contract.manifest import Manifest, ManifestMismatch
from core.contract.run_spec import ResumeFrom, Unverified
from core.db import attempts, events, jobs
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.events import NewEvent
from core.db.tables import Checkpoint, Model, ResumePoint
from core.objects.store import Progress, Store
from worker.workspace import Workspace

log = logging.getLogger(__name__)


def fetch(
    points: Sequence[ResumePoint], lease: Lease, space: Workspace, store: Store, progress: Progress
) -> ResumeFrom | None:
    """`points`: the newest first; an earlier one where a later one is damaged, and None where all are: from the start.

    A damaged one stays listed: it may be this node that reads wrongly. Raises Unavailable where the store gave none of
    them whole, and one perhaps only because it was away.
    """
    passed: list[ResumePoint] = []
    found: ResumeFrom | None = None
    away: Unavailable | None = None
    for point in points:
        try:
            found = tried(point, space, store, progress)
            break
        except (ManifestMismatch, NotFound):
            passed.append(point)
        except Unavailable as error:
            passed.append(point)
            away = error
    if found is None and away is not None:
        raise away
    for point in passed:
        damaged(point, lease)
    return found


def tried(point: ResumePoint, space: Workspace, store: Store, progress: Progress) -> ResumeFrom:
    """Twice: what was spoilt on the way is right the second time; what is spoilt in the store is not."""
    try:
        return whole(point, space, store, progress)
    except (ManifestMismatch, NotFound, Unavailable) as error:
        log.warning("resume point of step %d: %s", point.step, error)
        return whole(point, space, store, progress)


def whole(point: ResumePoint, space: Workspace, store: Store, progress: Progress) -> ResumeFrom:
    """Every file has the sha256 that Postgres knows before anything reads it."""
    manifest = Manifest.model_validate(point.manifest)
    folder = space.path / "resume_from"
    shutil.rmtree(folder, ignore_errors=True)
    store.download_folder(manifest, point.prefix, folder, progress=progress)
    manifests.write(folder, manifest)
    return ResumeFrom(path=folder, manifest_digest=manifest.digest())


def step_of(resume_from: ResumeFrom | None, points: Sequence[ResumePoint]) -> int:
    """The step that an attempt begins behind."""
    if resume_from is None:
        return 0
    named = resume_from.manifest_digest
    return next(point.step for point in points if Manifest.model_validate(point.manifest).digest() == named)


def finished(checkpoint: Checkpoint, model: Model, space: Workspace, store: Store, progress: Progress) -> Unverified:
    """The finished model, whole, with what it is verified by in its manifest again. Twice, as with resume points."""
    try:
        return whole_model(checkpoint, model, space, store, progress)
    except (ManifestMismatch, NotFound, Unavailable) as error:
        log.warning("finished model of step %d: %s", checkpoint.step, error)
        return whole_model(checkpoint, model, space, store, progress)


def whole_model(checkpoint: Checkpoint, model: Model, space: Workspace, store: Store, progress: Progress) -> Unverified:
    stored = Manifest.model_validate(model.manifest)
    manifest = stored.model_copy(update={"meta": {**stored.meta, "proof": checkpoint.proof}})
    folder = space.path / "verify" / f"step-{checkpoint.step}"
    shutil.rmtree(folder, ignore_errors=True)
    store.download_folder(manifest, model.prefix, folder, progress=progress)
    manifests.write(folder, manifest)
    return Unverified(path=folder, manifest_digest=manifest.digest())


def damaged(point: ResumePoint, lease: Lease) -> None:
    message = f"The resume point of step {point.step} is damaged in the store; the run goes on from the one before."
    with transaction() as session:
        jobs.locked(session, lease.job_id)
        attempts.check(session, lease)
        data = {"code": "resume_point_damaged", "step": point.step}
        events.append(session, lease.job_id, NewEvent(message, level="warn", data=data))
