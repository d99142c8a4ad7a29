"""Reference entries: where the log-probabilities of earlier runs are kept, of one project, key and data each."""

from collections.abc import Collection, Sequence
from itertools import accumulate, takewhile

from sqlalchemy import delete as sql_delete
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core import ids
from core.contract.states import TaskKind
from core.db import tasks
from core.db.tables import File, Job, ReferenceEntry

# Other truncations and lengths of the same data are entries beside each other.
KEEP = 4
MOST_ENTRIES = 16
MOST_BYTES = 1 << 30


def find(session: Session, project_id: str, key: str, data_digests: Collection[str]) -> list[ReferenceEntry]:
    """Those of the job's own data, newest first; where some of its data has none, the newest of other data too."""
    query = (
        select(ReferenceEntry)
        .where(ReferenceEntry.project_id == project_id, ReferenceEntry.key == key)
        .order_by(ReferenceEntry.created_at.desc(), ReferenceEntry.id)
        .limit(MOST_ENTRIES)
    )
    found = list(session.scalars(query.where(ReferenceEntry.data_digest.in_(data_digests))))
    if {entry.data_digest for entry in found} != set(data_digests):
        found += session.scalars(query.where(ReferenceEntry.data_digest.not_in(data_digests)))
    total = takewhile(lambda size: size <= MOST_BYTES, accumulate(entry.bytes for entry in found))
    return found[: len(list(total))][:MOST_ENTRIES]


def commit(
    session: Session,
    *,
    project_id: str,
    key: str,
    data_digest: str,
    object_key: str,
    bytes: int,
    sha256: str,
    sequences: int,
) -> None:
    """Its object is stored, and the attempt that made it is held. The oldest of the same key and data give way."""
    if session.scalar(select(ReferenceEntry.id).where(ReferenceEntry.object_key == object_key)):
        return  # committed already; only the answer was lost
    session.add(
        ReferenceEntry(
            id=ids.row_id(),
            project_id=project_id,
            key=key,
            data_digest=data_digest,
            object_key=object_key,
            bytes=bytes,
            sha256=sha256,
            sequences=sequences,
        )
    )
    session.flush()
    same = select(ReferenceEntry).where(
        ReferenceEntry.project_id == project_id, ReferenceEntry.key == key, ReferenceEntry.data_digest == data_digest
    )
    drop(session, session.scalars(same.order_by(ReferenceEntry.created_at.desc(), ReferenceEntry.id)).all()[KEEP:])


def drop(session: Session, entries: Sequence[ReferenceEntry]) -> None:
    """The rows go, their objects by a Task."""
    for entry in entries:
        session.execute(sql_delete(ReferenceEntry).where(ReferenceEntry.id == entry.id))
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject=entry.object_key)


def forget(session: Session, data_digest: str) -> None:
    """Drops the entries of this data in every project where no file has it any more, and no unfinished job."""
    file = select(File.id).where(
        File.project_id == ReferenceEntry.project_id, File.canonical_digest == data_digest, File.deleted_at.is_(None)
    )
    job = select(Job.id).where(
        Job.project_id == ReferenceEntry.project_id,
        or_(Job.training_digest == data_digest, Job.validation_digest == data_digest),
        Job.finished_at.is_(None),
    )
    unused = select(ReferenceEntry).where(ReferenceEntry.data_digest == data_digest, ~file.exists(), ~job.exists())
    drop(session, session.scalars(unused).all())
