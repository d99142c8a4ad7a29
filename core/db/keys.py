"""API keys: `plt_<id>_<secret>`, shown once; only the secret's SHA-256 is stored. Some expire."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

from sqlalchemy import bindparam, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from core import ids
from core.contract.errors import BadInput, NotFound, Unauthenticated
from core.db.engine import at_once
from core.db.tables import Key, Project

TOKEN = re.compile(r"plt_([0-9a-z]{16})_([0-9a-z]{40})")
ID_LENGTH = 16
NOBODY = hashlib.sha256(b"").hexdigest()
# What `last_used_at` may be late by: it is written no more often.
USED_SECONDS = 60
USED = (
    update(Key)
    .where(
        Key.id == bindparam("key"),
        or_(Key.last_used_at.is_(None), Key.last_used_at < func.now() - timedelta(seconds=USED_SECONDS)),
    )
    .values(last_used_at=func.now())
)


@dataclass(frozen=True)
class Caller:
    """Who asks: a key that is not revoked, and its project."""

    key_id: str
    project_id: str
    project_name: str


def create(
    session: Session, project_id: str, name: str | None = None, expires_in: timedelta | None = None
) -> tuple[Key, str]:
    """The row and the token, which nobody can be shown again."""
    secret = ids.new("", 40)
    key = Key(id=ids.new("", ID_LENGTH), project_id=project_id, name=name, secret_sha256=_sha256(secret))
    session.add(key)
    session.flush()
    if expires_in is not None:
        session.execute(update(Key).where(Key.id == key.id).values(expires_at=func.now() + expires_in))
    return key, f"plt_{key.id}_{secret}"


def id_of(token: str) -> str | None:
    """Of a token that has a key's form, whether there is such a key or not; all else may be somebody's secret."""
    match = TOKEN.fullmatch(token)
    return match[1] if match else None


def authenticate(session: Session, token: str) -> Caller:
    """Raises Unauthenticated for a token that is malformed, unknown or revoked, and says no more than that; who has
    the secret of one that expired is told so.
    """
    match = TOKEN.fullmatch(token)
    key_id, secret = match.groups() if match else ("", "")
    row = session.execute(
        select(
            Key.secret_sha256,
            Key.revoked_at,
            Key.expires_at,
            (Key.expires_at <= func.now()).label("expired"),
            Project.id,
            Project.name,
        )
        .join(Project, Project.id == Key.project_id)
        .where(Key.id == key_id)
    ).one_or_none()
    same = hmac.compare_digest(row.secret_sha256 if row else NOBODY, _sha256(secret))
    if row is None or not same or row.revoked_at is not None:
        raise Unauthenticated("The API key is wrong or revoked; `palate keys create` makes a new one.")
    if row.expired:
        raise Unauthenticated(
            f"The API key {key_id} expired at {row.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC; "
            "`palate keys create` makes a new one.",
            code="expired_api_key",
        )
    return Caller(key_id, row.id, row.name)


def used(key_id: str) -> None:
    """Now, where that was not written within the last minute. Raises Unavailable."""
    at_once(USED, {"key": key_id})


def revoke(session: Session, key_id: str) -> None:
    """Also of a key that is revoked already."""
    known = session.scalar(
        update(Key)
        .where(Key.id == key_id)
        .values(revoked_at=func.coalesce(Key.revoked_at, func.now()))
        .returning(Key.id)
    )
    if known is None:
        raise NotFound(f"No key {key_id}.", code="key_not_found")


def page(
    session: Session, project_id: str | None = None, after: str | None = None, limit: int = 100
) -> tuple[Sequence[Key], bool]:
    """Newest first, of one project or of all."""
    query = select(Key).order_by(Key.created_at.desc(), Key.id.desc()).limit(limit + 1)
    if project_id is not None:
        query = query.where(Key.project_id == project_id)
    if after is not None:
        cursor = session.get(Key, after)
        if cursor is None:
            raise BadInput(f"No key {after}; take `after` from an item of this list.", param="after")
        query = query.where(tuple_(Key.created_at, Key.id) < (cursor.created_at, cursor.id))
    rows = session.scalars(query).all()
    return rows[:limit], len(rows) > limit


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
