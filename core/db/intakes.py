"""Intakes: uploads under way, so that what a dead process left in the store is found and removed."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.contract.states import TaskKind
from core.db import tasks
from core.db.tables import Intake


def begin(session: Session, *, file_id: str, object_key: str, store_upload_id: str) -> None:
    session.add(Intake(file_id=file_id, object_key=object_key, store_upload_id=store_upload_id))


def seen(session: Session, file_id: str) -> bool:
    """Bytes still arrive; False when the sweeper has given this intake up."""
    touched = update(Intake).where(Intake.file_id == file_id).values(seen_at=func.now()).returning(Intake.file_id)
    return session.scalar(touched) is not None


def end(session: Session, file_id: str) -> bool:
    """False when the row is gone: the file has been committed, or the sweeper was here."""
    ended = delete(Intake).where(Intake.file_id == file_id).returning(Intake.file_id)
    return session.scalar(ended) is not None


def remove(session: Session, *file_ids: str) -> None:
    """The rows go, and what they name is deleted by a task; of one whose row is gone nothing is ours to remove."""
    ended = delete(Intake).where(Intake.file_id.in_(file_ids)).returning(Intake.object_key, Intake.store_upload_id)
    for key, upload in session.execute(ended).all():
        tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject=key, payload={"store_upload_id": upload})


def fed(session: Session, store_upload_ids: Collection[str]) -> set[str]:
    """Those of these uploads that an intake names."""
    return set(session.scalars(select(Intake.store_upload_id).where(Intake.store_upload_id.in_(store_upload_ids))))


def stale(session: Session, seconds: float, limit: int = 20) -> Sequence[str]:
    """Files whose intake nobody has fed for so long, the intakes locked for this transaction."""
    return session.scalars(
        select(Intake.file_id)
        .where(Intake.seen_at < func.now() - timedelta(seconds=seconds))
        .order_by(Intake.seen_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
