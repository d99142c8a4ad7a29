"""Projects: whose files, jobs and models these are."""

from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import ids
from core.contract.errors import BadInput, NotFound
from core.db.tables import Project


def ensure(session: Session, name: str) -> Project:
    """The project of this name, made now if there is none; safe when two do it at once."""
    session.execute(insert(Project).values(id=ids.new("proj_"), name=name).on_conflict_do_nothing())
    return by_name(session, name)


def by_name(session: Session, name: str) -> Project:
    project = session.scalar(select(Project).where(Project.name == name))
    if project is None:
        raise NotFound(f"No project {name!r}; `palate projects create` makes one.", code="project_not_found")
    return project


def limit(session: Session, name: str, **limits: int | None) -> Project:
    """Sets max_running, max_queued or both; None lifts one. What runs or waits already stays."""
    project = by_name(session, name)
    for which, most in limits.items():
        setattr(project, which, most)
    session.flush()
    return project


def page(session: Session, after: str | None = None, limit: int = 100) -> tuple[Sequence[Project], bool]:
    """Newest first."""
    query = select(Project).order_by(Project.created_at.desc(), Project.id.desc()).limit(limit + 1)
    if after is not None:
        cursor = session.get(Project, after)
        if cursor is None:
            raise BadInput(f"No project {after}; take `after` from an item of this list.", param="after")
        query = query.where(tuple_(Project.created_at, Project.id) < (cursor.created_at, cursor.id))
    rows = session.scalars(query).all()
    return rows[:limit], len(rows) > limit
