"""The end of what each rank of an attempt printed."""

from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.tables import RankLog


def write(session: Session, job_id: str, epoch: int, rank: int, tail: str) -> None:
    statement = insert(RankLog).values(job_id=job_id, epoch=epoch, rank=rank, tail=tail)
    changed = {"tail": tail, "updated_at": func.now()}
    session.execute(statement.on_conflict_do_update(index_elements=["job_id", "epoch", "rank"], set_=changed))


def kept(session: Session, job_id: str, epoch: int) -> bool:
    """Whether the attempt's logs are still to be there."""
    return bool(session.scalar(select(exists().where(RankLog.job_id == job_id, RankLog.epoch == epoch))))


def of_newest_attempt(session: Session, job_id: str) -> Sequence[RankLog]:
    """By rank."""
    newest = select(func.max(RankLog.epoch)).where(RankLog.job_id == job_id).scalar_subquery()
    return session.scalars(
        select(RankLog).where(RankLog.job_id == job_id, RankLog.epoch == newest).order_by(RankLog.rank)
    ).all()
