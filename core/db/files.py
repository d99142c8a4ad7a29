"""Files: uploaded preference data and the results of jobs. A row is there only when its bytes are in the store."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.orm import Session, defer

from core.contract.errors import BadInput, Conflict, NotFound
from core.contract.preference import Kind
from core.contract.states import FileStatus, TaskKind
from core.db import bad_lines, jobs, tasks
from core.db.tables import File, Job

FINE_TUNE = "fine-tune"
RESULTS = "fine-tune-results"


def create(
    session: Session,
    *,
    file_id: str,
    project_id: str,
    filename: str,
    purpose: str,
    bytes: int,
    sha256: str,
    object_key: str,
    options: dict[str, Any] | None = None,
    expires_seconds: int | None = None,
) -> File:
    """Preference data waits for its checks (a Task, added here); a job's results need none."""
    checked = purpose == FINE_TUNE
    file = File(
        id=file_id,
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        bytes=bytes,
        sha256=sha256,
        object_key=object_key,
        status=FileStatus.UPLOADED if checked else FileStatus.PROCESSED,
        options=options or {},
        expires_at=None if expires_seconds is None else func.now() + timedelta(seconds=expires_seconds),
    )
    session.add(file)
    session.flush()
    session.refresh(file)
    if checked:
        tasks.add(session, kind=TaskKind.VALIDATE_FILE, subject=file_id, project_id=project_id)
    return file


def committed(session: Session, project_id: str, file_id: str) -> File | None:
    """For who does not know whether his own `create` was: the row, deleted or not."""
    return session.scalar(select(File).where(File.id == file_id, File.project_id == project_id))


def live() -> ColumnElement[bool]:
    """Neither deleted nor past its time."""
    return File.deleted_at.is_(None) & or_(File.expires_at.is_(None), File.expires_at > func.now())


def get(session: Session, project_id: str, file_id: str) -> File:
    """Without its report, which may have megabytes: that is read when it is asked for, within the transaction."""
    query = select(File).where(File.id == file_id, File.project_id == project_id, live())
    file = session.scalar(query.options(defer(File.report)))
    if file is None:
        raise NotFound(f"No file {file_id} here.", code="file_not_found", param="file_id")
    return file


def page(
    session: Session,
    project_id: str,
    after: str | None,
    limit: int,
    *,
    purpose: str | None = None,
    order: Literal["asc", "desc"] = "desc",
) -> tuple[Sequence[File], bool]:
    """By creation; a deleted file still serves as `after`."""
    place = tuple_(File.created_at, File.id)
    query = select(File).where(File.project_id == project_id, live()).limit(limit + 1).options(defer(File.report))
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    if after is not None:
        cursor = session.scalar(select(File).where(File.id == after, File.project_id == project_id))
        if cursor is None:
            raise BadInput(f"No file {after} here; take `after` from an item of this list.", param="after")
        at = (cursor.created_at, cursor.id)
        query = query.where(place < at if order == "desc" else place > at)
    if order == "desc":
        query = query.order_by(File.created_at.desc(), File.id.desc())
    else:
        query = query.order_by(File.created_at, File.id)
    rows = session.scalars(query).all()
    return rows[:limit], len(rows) > limit


def delete(session: Session, project_id: str, file_id: str) -> None:
    """Gone from now on, its objects by a Task; Conflict when an unfinished job uses it."""
    file = get(session, project_id, file_id)
    session.execute(select(File.id).where(File.id == file.id).with_for_update())
    user = jobs.unfinished_of_file(session, file_id)
    if user is not None:
        raise Conflict(
            f"File {file_id} is in use by job {user}; cancel that job first.", code="in_use", param="file_id"
        )
    retire(session, file)


def expire(session: Session, limit: int = 20) -> int:
    """Retires files past their time that no unfinished job uses; returns how many."""
    unfinished = select(Job.id).where(
        or_(Job.training_file == File.id, Job.validation_file == File.id), Job.finished_at.is_(None)
    )
    due = session.scalars(
        select(File)
        .where(File.deleted_at.is_(None), File.expires_at <= func.now(), ~unfinished.exists())
        .order_by(File.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for file in due:
        retire(session, file)
    return len(due)


def retire(session: Session, file: File) -> None:
    """Marks the row; a Task removes the object, and the canonical data with its last file."""
    bad_lines.drop(session, file.id)
    session.execute(update(File).where(File.id == file.id).values(deleted_at=func.now()))
    payload = {"canonical_digest": file.canonical_digest}
    tasks.add(
        session,
        kind=TaskKind.DELETE_OBJECTS,
        subject=file.object_key,
        payload=payload,
        project_id=file.project_id,
    )


def canonical_in_use(session: Session, digest: str) -> bool:
    """Whether a file that is not deleted, or an unfinished job, needs these canonical records."""
    file = session.scalar(select(File.id).where(File.canonical_digest == digest, File.deleted_at.is_(None)).limit(1))
    return file is not None or jobs.unfinished_of_digest(session, digest) is not None


def processed(
    session: Session,
    file_id: str,
    *,
    report: dict[str, Any],
    canonical_digest: str,
    records: int,
    kind: Kind,
    columns: Sequence[str] = (),
    details: str | None,
) -> None:
    """The checks ended well: the canonical records, all of one kind, are in the store under their digest.

    columns: those of weight, confidence and margin that a loss has to honour.
    """
    _judged(
        session,
        file_id,
        FileStatus.PROCESSED,
        report=report,
        canonical_digest=canonical_digest,
        pairs=records,
        data_kind=kind,
        data_columns=list(columns),
        status_details=details,
    )


def lock_canonical(session: Session, digest: str) -> None:
    """To the end of the transaction: nobody else commits or deletes these canonical records meanwhile."""
    session.execute(select(func.pg_advisory_xact_lock(int(digest[:15], 16))))


def waiting_for_checks(session: Session, file_id: str) -> File | None:
    """The file, unless it is deleted or judged already."""
    return session.scalar(
        select(File).where(File.id == file_id, File.status == FileStatus.UPLOADED, File.deleted_at.is_(None))
    )


def refused(session: Session, file_id: str, *, code: str, details: str, report: dict[str, Any] | None = None) -> None:
    """The checks ended badly, or could not end: `details` says in a sentence why, and what to do."""
    _judged(session, file_id, FileStatus.ERROR, report=report, error_code=code, status_details=details)


def _judged(
    session: Session, file_id: str, status: FileStatus, *, report: dict[str, Any] | None, **values: Any
) -> None:
    """Once a file; of the report's errors the first few stay in it, and all go where they are read by page."""
    unjudged = update(File).where(File.id == file_id, File.status == FileStatus.UPLOADED)
    judged = session.execute(unjudged.values(status=status, **values).returning(File.id)).first()
    if judged is not None and report is not None:
        kept = bad_lines.keep(session, file_id, report)
        session.execute(update(File).where(File.id == file_id).values(report=kept))
