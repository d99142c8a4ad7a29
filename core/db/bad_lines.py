"""The lines of a file that were not taken: a row each, so that a page of them costs a page."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Subquery, Text, delete, exists, insert, select, text
from sqlalchemy.orm import Session

from core.db.tables import BadLine

IN_REPORT = 100
IN_ITS_REPORT = text("""
    SELECT each.number, each.value->>'code' AS code, CAST(each.value AS text) AS line
    FROM files CROSS JOIN jsonb_array_elements(report->'errors') WITH ORDINALITY each (value, number)
    WHERE id = :judged
""").columns(number=Integer, code=Text, line=Text)


def keep(session: Session, file_id: str, report: dict[str, Any]) -> dict[str, Any]:
    """All of them in rows; the report with the first of them, to be stored."""
    found = report.get("errors") or []
    rows = [
        {"file_id": file_id, "number": number, "code": each["code"], "line": json.dumps(each, ensure_ascii=False)}
        for number, each in enumerate(found, 1)
    ]
    if rows:
        session.execute(insert(BadLine), rows)
    return {**report, "errors": found[:IN_REPORT]} if rows else report


def drop(session: Session, file_id: str) -> None:
    session.execute(delete(BadLine).where(BadLine.file_id == file_id))


def page(
    session: Session, file_id: str, after: int, limit: int, code: str | None = None
) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
    """Behind `after`, each with its number, and whether there are more."""
    found = _of(session, file_id)
    query = select(found.c.number, found.c.line).where(found.c.number > after)
    if code is not None:
        query = query.where(found.c.code == code)
    rows = session.execute(query.order_by(found.c.number).limit(limit + 1)).all()
    return [(row.number, json.loads(row.line)) for row in rows[:limit]], len(rows) > limit


def there(session: Session, file_id: str, number: int) -> bool:
    found = _of(session, file_id)
    return bool(session.scalar(select(exists().where(found.c.number == number))))


def lines(session: Session, file_id: str) -> Sequence[str]:
    """Each as JSON."""
    found = _of(session, file_id)
    return session.scalars(select(found.c.line).order_by(found.c.number)).all()


def _of(session: Session, file_id: str) -> Subquery:
    """number, code, line. Files that were judged before there were rows have theirs in the report: Postgres takes it
    apart then, which costs its time and not the service's."""
    if session.scalar(select(exists().where(BadLine.file_id == file_id))):
        return select(BadLine.number, BadLine.code, BadLine.line).where(BadLine.file_id == file_id).subquery()
    return IN_ITS_REPORT.bindparams(judged=file_id).subquery()
