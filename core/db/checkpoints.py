"""Checkpoints (models at a step, listed and downloadable) and resume points (internal)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import Session, undefer

from core import ids
from core.contract.errors import BadInput
from core.contract.manifest import Manifest
from core.contract.states import TaskKind
from core.db import events, models, tasks
from core.db.events import NewEvent
from core.db.tables import Checkpoint, Job, Model, Project, ResumePoint

BEST_BY = ("eval/rewards/accuracies", "eval/loss")
# Among a checkpoint's metrics: 1, the model loaded again was the one that was trained; 0, it was not, and is kept for
# who wants it all the same; absent, nobody has looked (as of those in the middle of a run).
VERIFIED = "palate/verified"

NEWEST = (Checkpoint.proof.is_(None), Checkpoint.step.desc())


def page(
    session: Session, job_id: str, after: str | None, limit: int
) -> tuple[Sequence[tuple[Checkpoint, Model]], bool]:
    """Newest first, with the model that each one is."""
    query = (
        select(Checkpoint, Model)
        .join(Model, Model.id == Checkpoint.model_id)
        .where(Checkpoint.job_id == job_id, Model.deleted_at.is_(None))
    )
    if after is not None:
        cursor = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.id == after))
        if cursor is None:
            raise BadInput(f"No checkpoint {after} in this job; take `after` from an item of this list.", param="after")
        query = query.where(tuple_(Checkpoint.step, Checkpoint.id) < (cursor.step, cursor.id))
    rows = session.execute(query.order_by(Checkpoint.step.desc(), Checkpoint.id.desc()).limit(limit + 1)).all()
    return [(row[0], row[1]) for row in rows[:limit]], len(rows) > limit


def digest_at(session: Session, job_id: str, step: int) -> str | None:
    """The content of the checkpoint that is committed at this step, if one is."""
    return session.scalar(
        select(Model.digest)
        .join(Checkpoint, Checkpoint.model_id == Model.id)
        .where(Checkpoint.job_id == job_id, Checkpoint.step == step)
    )


def model_at(session: Session, job_id: str, step: int) -> Model:
    query = select(Model).join(Checkpoint, Checkpoint.model_id == Model.id)
    return session.scalars(query.where(Checkpoint.job_id == job_id, Checkpoint.step == step)).one()


def commit(
    session: Session,
    job: Job,
    *,
    epoch: int,
    step: int,
    prefix: str,
    manifest: Manifest,
    metrics: Mapping[str, float],
    proof: Mapping[str, Any] | None = None,
) -> Model:
    """Lists the checkpoint whose objects are stored and checked; an earlier epoch's of the same step gives way.

    `proof`: it is the job's last, to be verified by this.
    """
    previous = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == step))
    if previous is not None:
        old = session.get_one(Model, previous.model_id)
        session.delete(previous)
        session.flush()
        models.retire(session, old)
    model = _model(session, job, f"{model_name(session, job)}:ckpt-step-{step}", prefix, manifest)
    session.add(
        Checkpoint(
            id=ids.checkpoint_id(),
            job_id=job.id,
            model_id=model.id,
            epoch=epoch,
            step=step,
            metrics=dict(metrics),
            proof=None if proof is None else dict(proof),
        )
    )
    event = NewEvent(f"Checkpoint created at step {step}: {model.name}", data={"step": step, "model": model.name})
    events.append(session, job.id, event)
    session.execute(update(Job).where(Job.id == job.id).values(retries=0))
    return model


def prove(session: Session, job_id: str, step: int, proof: Mapping[str, Any]) -> None:
    """This checkpoint, which was listed before, is the job's last, to be verified by `proof`."""
    here = (Checkpoint.job_id == job_id, Checkpoint.step == step)
    session.execute(update(Checkpoint).where(*here).values(proof=dict(proof)))


def verified(session: Session, job_id: str, step: int, *, passed: bool) -> None:
    row = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step)).one()
    row.metrics = {**row.metrics, VERIFIED: float(passed)}
    session.flush()


def finished(session: Session, job_id: str) -> tuple[Checkpoint, Model] | None:
    """The last checkpoint of a job under way, its proof loaded, and its model: nothing is left to train."""
    query = (
        select(Checkpoint, Model)
        .options(undefer(Checkpoint.proof))
        .join(Model, Model.id == Checkpoint.model_id)
        .where(Checkpoint.job_id == job_id, Checkpoint.proof.is_not(None))
    )
    row = session.execute(query.order_by(Checkpoint.epoch.desc(), Checkpoint.step.desc()).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])


def newest(session: Session, job_id: str) -> tuple[Checkpoint, Model] | None:
    """The one that prune keeps before all others."""
    query = select(Checkpoint, Model).join(Model, Model.id == Checkpoint.model_id).where(Checkpoint.job_id == job_id)
    row = session.execute(query.order_by(*NEWEST).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])


def commit_final(session: Session, job: Job, checkpoint: Model, result_files: list[str]) -> Model:
    """The last checkpoint's files under the job's own name."""
    manifest = Manifest.model_validate(checkpoint.manifest)
    model = _model(session, job, model_name(session, job), checkpoint.prefix, manifest)
    session.execute(update(Job).where(Job.id == job.id).values(fine_tuned_model=model.name, result_files=result_files))
    events.append(session, job.id, NewEvent(f"New fine-tuned model created: {model.name}", data={"model": model.name}))
    return model


def _model(session: Session, job: Job, name: str, prefix: str, manifest: Manifest) -> Model:
    base = session.get_one(Model, job.model_id)
    model = Model(
        id=ids.row_id(),
        name=name,
        project_id=job.project_id,
        job_id=job.id,
        base_model=base.name,
        digest=manifest.digest(),
        prefix=prefix,
        manifest=manifest.model_dump(),
        facts=base.facts,
    )
    session.add(model)
    session.flush()
    return model


def model_name(session: Session, job: Job) -> str:
    """`ft:<base>:<project>:<suffix>:<short>`; the base of a model that was itself tuned here is its own base."""
    base = session.get_one(Model, job.model_id)
    project = session.get_one(Project, job.project_id)
    short = job.id.removeprefix("ftjob-")[:8]
    return f"ft:{base.base_model or base.name}:{project.name}:{job.spec.get('suffix') or ''}:{short}"


def prune(session: Session, job_id: str, keep: int) -> None:
    """Keeps the newest `keep` and the best by the held-out figure; the others' rows go, their objects by a Task.

    The job's last is its newest, even where an attempt that was lost had come further.
    """
    rows = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(*NEWEST)).all()
    spared = {row.id for row in rows[:keep]} | {row.id for row in best(rows)}
    for row in rows:
        if row.id not in spared:
            model = session.get_one(Model, row.model_id)
            session.delete(row)
            session.flush()
            models.retire(session, model)


def best(rows: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The one with the highest held-out reward accuracy, ties by the lower loss; none without held-out pairs.

    Never one that was refused when it was loaded again: its figures are not those of its files.
    """
    judged = [row for row in rows if BEST_BY[0] in row.metrics and row.metrics.get(VERIFIED) != 0]
    return sorted(judged, key=lambda row: (-row.metrics[BEST_BY[0]], row.metrics.get(BEST_BY[1], 0.0)))[:1]


def newest_resume_point(session: Session, job_id: str) -> ResumePoint | None:
    return next(iter(resume_points(session, job_id)), None)


def resume_points(session: Session, job_id: str) -> Sequence[ResumePoint]:
    """Newest first: by epoch, then by step. Where a damaged one was passed over, its step lies above newer ones."""
    return session.scalars(
        select(ResumePoint)
        .where(ResumePoint.job_id == job_id)
        .order_by(ResumePoint.epoch.desc(), ResumePoint.step.desc())
    ).all()


def commit_resume_point(
    session: Session, job_id: str, *, epoch: int, step: int, prefix: str, manifest: Manifest, keep: int = 2
) -> None:
    """Adds it and drops all but the newest `keep`. Again the same: nothing, only the answer was lost."""
    if session.get(ResumePoint, (job_id, step, epoch)) is not None:
        return
    session.add(ResumePoint(job_id=job_id, epoch=epoch, step=step, prefix=prefix, manifest=manifest.model_dump()))
    session.flush()
    session.execute(update(Job).where(Job.id == job_id).values(retries=0))
    for point in resume_points(session, job_id)[keep:]:
        _drop(session, point)


def drop_resume_points(session: Session, job_id: str) -> None:
    """When the job is over: what it could have gone on from, and the answers that its model was verified by."""
    session.execute(update(Checkpoint).where(Checkpoint.job_id == job_id).values(proof=None))
    for point in session.scalars(select(ResumePoint).where(ResumePoint.job_id == job_id)).all():
        _drop(session, point)


def _drop(session: Session, point: ResumePoint) -> None:
    session.execute(
        sql_delete(ResumePoint).where(
            ResumePoint.job_id == point.job_id, ResumePoint.step == point.step, ResumePoint.epoch == point.epoch
        )
    )
    tasks.add(session, kind=TaskKind.DELETE_OBJECTS, subject=point.prefix)


def figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of the fine-tuning API's checkpoint object, beside ours."""
    return {"train_loss": metrics.get("loss"), "full_valid_loss": metrics.get("eval/loss"), **metrics}
