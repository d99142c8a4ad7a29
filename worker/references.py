"""Reference log-probabilities between this node and the service: those of earlier runs in, new ones out."""

import logging
from pathlib import Path

from core import beneath
from core.contract import manifest as manifests
from core.contract.errors import Fenced, NotFound, PalateError, Unavailable
from core.contract.manifest import ManifestMismatch
from core.contract.trainer_events import ReferenceSealed
from core.db import attempts, events, jobs, references
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.events import NewEvent
from core.db.tables import ReferenceEntry
from core.objects import keys
from core.objects.parts import read_parts
from core.objects.store import Progress, Store
from worker import cache

log = logging.getLogger(__name__)


def fetch(entry: ReferenceEntry, lease: Lease, store: Store, progress: Progress) -> Path | None:
    """The entry's file on this node. None where it cannot be had: a warning, and the trainer computes it again."""
    try:
        return cache.reference(store, entry.sha256, entry.object_key, entry.bytes, progress)
    except (NotFound, ManifestMismatch) as error:
        log.warning("reference entry %s dropped: %s", entry.id, error)
        lost(entry, lease, forget=True)
    except Unavailable as error:
        log.warning("reference entry %s: %s", entry.id, error)
        lost(entry, lease, forget=False)
    return None


def lost(entry: ReferenceEntry, lease: Lease, forget: bool) -> None:
    message = (
        f"Kept reference log-probabilities of {entry.sequences} answers could not be fetched; they are computed again."
    )
    with transaction() as session:
        jobs.locked(session, lease.job_id)
        attempts.check(session, lease)
        events.append(
            session, lease.job_id, NewEvent(message, level="warn", data={"code": "reference_entry_unavailable"})
        )
        if forget:
            references.drop(session, [entry])


def keep(sealed: ReferenceSealed, workspace: Path, lease: Lease, lease_seconds: float, store: Store) -> None:
    """For later jobs; what cannot be kept now, they compute again. Raises Fenced only."""
    try:
        with beneath.folder(workspace, sealed.path) as folder:
            publish(sealed, folder, lease, lease_seconds, store)
    except Fenced:
        raise
    except (PalateError, OSError) as error:
        log.warning("%s is not kept: %s", sealed.path, error)


def publish(sealed: ReferenceSealed, folder: Path, lease: Lease, lease_seconds: float, store: Store) -> None:
    """The object first, its row last; what an attempt leaves without a row is collected after its end."""
    files = manifests.read(folder).files
    name = Path(sealed.path).name
    if len(files) != 1 or not (name.isascii() and name.isdigit()):
        raise ManifestMismatch(f"{sealed.path} holds {len(files)} files: one is wanted, in a folder that is a number.")
    (entry,) = files
    object_key = keys.reference_entry(lease.job_id, lease.epoch, int(name))
    with manifests.open_entry(folder, entry) as stream:
        stored = store.put_stream(object_key, read_parts(stream))
    if (stored.bytes, stored.sha256) != (entry.bytes, entry.sha256):
        raise ManifestMismatch(f"{entry.path} changed while it was uploaded.")
    if store.head(object_key) != entry.bytes:
        raise ManifestMismatch(f"{object_key} does not have {entry.bytes} bytes in the store.")
    with transaction() as session:
        job = jobs.locked(session, lease.job_id)
        attempts.hold(session, lease, lease_seconds)
        if sealed.data_digest not in (job.training_digest, job.validation_digest):
            raise ManifestMismatch(f"{sealed.path} belongs to {sealed.data_digest!r}, which is no data of this job.")
        references.commit(
            session,
            project_id=job.project_id,
            key=sealed.key,
            data_digest=sealed.data_digest,
            object_key=object_key,
            bytes=entry.bytes,
            sha256=entry.sha256,
            sequences=sealed.sequences,
        )
