"""Creating a job: what it names must exist, and the same request twice is one job."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, defer

from core import ids
from core.contract.errors import BadInput, Conflict, PalateError, QuotaExceeded
from core.contract.job_spec import JobSpec
from core.contract.states import FileStatus, JobState
from core.db import admission, events, files, models, verdicts
from core.db.events import NewEvent
from core.db.tables import File, IdempotencyKey, Job, Model, Project

KEY_LIVES = timedelta(hours=24)
RETRY_WINDOW = timedelta(minutes=10)

Judge = Callable[[Job, Model, Mapping[str, File]], None]


class IdempotencyKeyReused(PalateError):
    """The key was used within 24 hours for another body."""

    code = "idempotency_key_reused"


def create(
    session: Session,
    *,
    project_id: str,
    key_id: str,
    spec: JobSpec,
    body_sha256: str,
    idempotency_key: str | None = None,
    retry_count: int = 0,
    judge: Judge | None = None,
) -> tuple[Job, bool]:
    """The job, and whether it is an earlier request's. `judge` sees a new one, and may raise.

    Raises BadInput, Conflict (in flight), IdempotencyKeyReused or QuotaExceeded.
    """
    earlier = replayed(session, project_id, key_id, body_sha256, idempotency_key, retry_count)
    if earlier is not None:
        events.append(session, earlier.id, NewEvent("A repeated create request was answered with this job."))
        session.refresh(earlier)
        return earlier, True
    has_room(session, project_id)
    model = known_model(session, project_id, spec.model)
    named = named_files(session, project_id, spec)
    gpus = spec.palate.resources.gpus
    job = Job(
        id=ids.job_id(),
        project_id=project_id,
        key_id=key_id,
        spec=spec.model_dump(),
        metadata_=spec.metadata,
        seed=spec.seed if spec.seed is not None else secrets.randbelow(2**31),
        model_id=model.id,
        training_file=spec.training_file,
        validation_file=spec.validation_file,
        ranks=gpus if gpus != "auto" else 1,
        priority=spec.palate.priority,
        state=JobState.VALIDATING_FILES,
        body_sha256=body_sha256,
        retry_count=retry_count,
    )
    session.add(job)
    session.flush()
    if idempotency_key is not None:
        session.merge(
            IdempotencyKey(project_id=project_id, key=idempotency_key, body_sha256=body_sha256, job_id=job.id)
        )
    events.append(session, job.id, NewEvent(f"Created fine-tuning job: {job.id}"))
    admission.advance(session, job.id)
    session.refresh(job)
    if judge is not None:
        judge(job, model, named)
    return job, False


def replayed(
    session: Session, project_id: str, key_id: str, body_sha256: str, idempotency_key: str | None, retry_count: int
) -> Job | None:
    """The earlier job that this request repeats, if any."""
    if idempotency_key is not None:
        if not session.scalar(select(func.pg_try_advisory_xact_lock(_lock(project_id, idempotency_key)))):
            raise Conflict(
                "A request with this Idempotency-Key is still in flight; try again.",
                code="idempotency_key_in_flight",
                retry=True,
            )
        bound = session.get(IdempotencyKey, (project_id, idempotency_key))
        now = session.scalar(select(func.now()))
        if bound is None or (now is not None and bound.created_at < now - KEY_LIVES):
            if bound is not None:
                session.delete(bound)
                session.flush()
            return None
        if bound.body_sha256 != body_sha256:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used with another body in the last 24 hours; use a new key."
            )
        return session.get(Job, bound.job_id)
    if retry_count > 0:
        session.execute(select(func.pg_advisory_xact_lock(_lock(key_id, body_sha256))))
        job = session.scalar(
            select(Job)
            .where(
                Job.key_id == key_id,
                Job.body_sha256 == body_sha256,
                Job.retry_count < retry_count,
                Job.created_at > func.now() - RETRY_WINDOW,
            )
            .order_by(Job.created_at.desc())
            .limit(1)
            .with_for_update()
        )
        if job is not None:
            session.execute(update(Job).where(Job.id == job.id).values(retry_count=retry_count))
        return job
    session.execute(select(func.pg_advisory_xact_lock_shared(_lock(key_id, body_sha256))))
    return None


def has_room(session: Session, project_id: str) -> None:
    """Holds the project's row to the end of the transaction, where it has a limit: two at once must not pass it."""
    limited = select(Project.max_queued).where(Project.id == project_id, Project.max_queued.is_not(None))
    most = session.scalar(limited.with_for_update())
    if most is None:
        return
    waiting = select(func.count()).where(
        Job.project_id == project_id, Job.state.in_((JobState.VALIDATING_FILES, JobState.QUEUED))
    )
    if (count := session.scalar(waiting) or 0) >= most:
        raise QuotaExceeded(
            f"{count} jobs of this project wait already, and {most} may; wait for one to start, or cancel one.",
            code="max_queued_reached",
        )


def known_model(session: Session, project_id: str, name: str) -> Model:
    """Locked against deletion until the job that names it has committed."""
    model = models.find(session, project_id, name, kept=True)
    if model is None:
        raise BadInput(
            f"No model {name!r} here; GET /v1/models lists those you can use.", code="model_not_found", param="model"
        )
    return model


def named_files(session: Session, project_id: str, spec: JobSpec) -> dict[str, File]:
    """By param. BadInput for one that is not here, and where their checks are done already, for what cannot be
    trained on them and for what they found; else the same comes while the job is in validating_files."""
    files = {"training_file": known_file(session, project_id, spec.training_file, "training_file")}
    if spec.validation_file is not None:
        files["validation_file"] = known_file(session, project_id, spec.validation_file, "validation_file")
    if all(file.status == FileStatus.PROCESSED for file in files.values()):
        verdicts.settle(session, spec, files)
    return files


def known_file(session: Session, project_id: str, file_id: str, param: str) -> File:
    file = session.scalar(
        select(File)
        .where(File.id == file_id, File.project_id == project_id, files.live())
        .options(defer(File.report))
        .with_for_update(read=True)
    )
    if file is None:
        raise BadInput(
            f"No file {file_id!r} here; POST it to /v1/files first and use the id of the answer.",
            code="file_not_found",
            param=param,
        )
    if file.purpose != "fine-tune":
        raise BadInput(f"File {file_id} has purpose {file.purpose!r}, not 'fine-tune'.", param=param)
    if file.status == FileStatus.ERROR:
        raise BadInput(admission.refusal(file), code=f"invalid_{param}", param=param)
    return file


def _lock(*parts: str) -> int:
    """A name for an advisory lock: 63 bits."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big") >> 1
