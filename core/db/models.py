"""Models: base models by revision, finished models, checkpoints. A row is there only when its files are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core import ids
from core.contract.errors import BadInput, Conflict, NotFound
from core.contract.manifest import Manifest
from core.db import tasks
from core.db.tables import Job, Model


def visible(project_id: str) -> ColumnElement[bool]:
    """Not deleted, and of this project or of all."""
    return Model.deleted_at.is_(None) & or_(Model.project_id == project_id, Model.project_id.is_(None))


def add_base(
    session: Session,
    *,
    name: str,
    digest: str,
    prefix: str,
    manifest: Manifest,
    facts: dict[str, Any],
    project_id: str | None = None,
) -> Model:
    """A new revision of a base model; the same bytes under the same name are the row that is there."""
    same = session.scalar(
        select(Model).where(
            Model.name == name,
            Model.digest == digest,
            Model.job_id.is_(None),
            Model.deleted_at.is_(None),
            Model.project_id.is_(None) if project_id is None else Model.project_id == project_id,
        )
    )
    if same is not None:
        return same
    model = Model(
        id=ids.row_id(),
        name=name,
        project_id=project_id,
        digest=digest,
        prefix=prefix,
        manifest=manifest.model_dump(),
        facts=facts,
    )
    session.add(model)
    session.flush()
    return model


def find(session: Session, project_id: str, name: str, *, kept: bool = False) -> Model | None:
    """The newest revision that this project sees; its own before one of all projects.

    kept: nobody deletes it before this transaction has ended.
    """
    query = (
        select(Model)
        .where(Model.name == name, visible(project_id))
        .order_by(Model.project_id.is_(None), Model.created_at.desc(), Model.id)
        .limit(1)
    )
    return session.scalar(query.with_for_update(read=True) if kept else query)


def by_id(session: Session, model_id: str) -> Model:
    return session.get_one(Model, model_id)


def by_name(session: Session, project_id: str, name: str) -> Model:
    model = find(session, project_id, name)
    if model is None:
        raise NotFound(f"No model {name!r} here; GET /v1/models lists those you can use.", code="model_not_found")
    return model


def page(session: Session, project_id: str) -> Sequence[Model]:
    """The newest revision of each name, newest first."""
    newest = (
        select(Model)
        .where(visible(project_id))
        .ext(distinct_on(Model.name))
        .order_by(Model.name, Model.project_id.is_(None), Model.created_at.desc())
        .subquery()
    )
    return session.scalars(
        select(Model).join(newest, Model.id == newest.c.id).order_by(Model.created_at.desc(), Model.id)
    ).all()


def all_bases(session: Session) -> Sequence[Model]:
    """For the operator: every revision of every base model."""
    return session.scalars(
        select(Model).where(Model.job_id.is_(None), Model.deleted_at.is_(None)).order_by(Model.name, Model.created_at)
    ).all()


def delete(session: Session, project_id: str, name: str) -> None:
    """A model of a job: gone from now on, its objects by a Task. Base models are the operator's."""
    model = by_name(session, project_id, name)
    if model.project_id != project_id or model.job_id is None:
        raise BadInput(f"{name!r} is a base model; only the operator of this service removes it.", param="model")
    session.execute(select(Model.id).where(Model.id == model.id).with_for_update())
    # The job that made a checkpoint may end with it as its model.
    uses = or_(Job.model_id == model.id, Job.id == model.job_id)
    user = session.scalar(select(Job.id).where(uses, Job.finished_at.is_(None)).limit(1))
    if user is not None:
        raise Conflict(f"{name!r} is in use by job {user}; cancel that job first.", code="in_use", param="model")
    retire(session, model)


def retire(session: Session, model: Model) -> None:
    """Marks the row; the objects go when no other row shows them."""
    session.execute(update(Model).where(Model.id == model.id).values(deleted_at=func.now()))
    others = session.scalar(
        select(func.count()).where(Model.prefix == model.prefix, Model.deleted_at.is_(None), Model.id != model.id)
    )
    if not others:
        tasks.add(session, kind=tasks.TaskKind.DELETE_OBJECTS, subject=model.prefix)
