"""Events of a job: append-only, with a contiguous `seq` that rises in the order of commits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Update, select, text, update
from sqlalchemy.orm import Session

from core import ids
from core.contract.errors import BadInput, NotFound, Unavailable
from core.contract.finding import Finding
from core.db.engine import after_commit, at_once
from core.db.tables import Event, Job

CHANNEL = "palate_jobs"
log = logging.getLogger(__name__)
# The tables themselves, and what is always the same built once: each job writes here each second.
JOBS, INSERT = Job.metadata.tables["jobs"], Event.metadata.tables["events"].insert()
TELL = text("SELECT pg_notify(:channel, job_id) FROM unnest(CAST(:job_ids AS text[])) AS told (job_id)")


@dataclass(frozen=True)
class NewEvent:
    """`id` is its natural key: who does not know whether it was committed asks `unknown`."""

    message: str
    level: str = "info"
    type: str = "message"
    data: Mapping[str, Any] | None = None
    id: str = field(default_factory=ids.event_id)


def append(session: Session, job_id: str, *events: NewEvent) -> None:
    """Takes the next numbers and raises the job's version, in this transaction; wakes those who wait for the job."""
    if events and not append_with(session, update(JOBS).where(JOBS.c.id == job_id), job_id, *events):
        raise NotFound(f"No fine-tuning job {job_id}.")


def append_with(session: Session, change: Update, job_id: str, *events: NewEvent) -> bool:
    """In one statement with a change of the job's row; False, and nothing written, where it does not touch the row."""
    count = len(events)
    change = change.values(last_seq=JOBS.c.last_seq + count, version=JOBS.c.version + 1)
    last = session.execute(change.returning(JOBS.c.last_seq)).scalar_one_or_none()
    if last is None:
        return False
    rows = [
        {
            "job_id": job_id,
            "seq": last - count + number,
            "id": event.id,
            "level": event.level,
            "type": event.type,
            "message": event.message,
            "data": dict(event.data) if event.data is not None else None,
        }
        for number, event in enumerate(events, start=1)
    ]
    session.execute(INSERT, rows if count > 1 else rows[0])
    notify(session, job_id)
    return True


def unknown(session: Session, job_id: str, events: Sequence[NewEvent]) -> list[NewEvent]:
    """Those of them that are not in the table."""
    named = select(Event.id).where(Event.job_id == job_id, Event.id.in_([event.id for event in events]))
    known = set(session.scalars(named))
    return [event for event in events if event.id not in known]


def notify(session: Session, job_id: str) -> None:
    """Wakes those who wait for the job, once this transaction has committed; who misses it looks by itself.

    Not within it: Postgres commits transactions that notify one after the other, each with its wait for the disk.
    """
    if not session.info.setdefault("notified", set()):
        after_commit(session, partial(_tell, session.info["notified"]))
    session.info["notified"].add(job_id)


def _tell(job_ids: set[str]) -> None:
    try:
        at_once(TELL, {"channel": CHANNEL, "job_ids": sorted(job_ids)})
    except Unavailable as error:
        log.warning("nobody was told of %d changes: %s", len(job_ids), error)


def findings(session: Session, job_id: str) -> list[Finding]:
    """What the job's newest reference pass has found in its data; none before it."""
    kept = select(Event.data["findings"]).where(Event.job_id == job_id, Event.data.has_key("findings"))
    found = session.scalar(kept.order_by(Event.seq.desc()).limit(1))
    return [Finding.model_validate(each) for each in found or []]


def page(
    session: Session, job_id: str, after: str | None, limit: int, level: str | None = None
) -> tuple[Sequence[Event], bool]:
    """Newest first, of one level or of all. An `after` that is not an event of this job is BadInput."""
    query = select(Event).where(Event.job_id == job_id).order_by(Event.seq.desc()).limit(limit + 1)
    if after is not None:
        seq = session.scalar(select(Event.seq).where(Event.job_id == job_id, Event.id == after))
        if seq is None:
            raise BadInput(f"No event {after} in this job; take `after` from an item of this list.", param="after")
        query = query.where(Event.seq < seq)
    if level is not None:
        query = query.where(Event.level == level)
    rows = session.scalars(query).all()
    return rows[:limit], len(rows) > limit
