"""From validating_files to queued: first the files' checks, then the inspection of file + model + length."""

import hashlib
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.run_spec import Inspection
from core.contract.states import FileStatus, JobState, Phase, TaskKind
from core.db import jobs, tasks
from core.db.events import NewEvent
from core.db.tables import File, Job, Model
from core.db.tables import Inspection as InspectionRow

MIN_PAIRS = 10


def advance(session: Session, job_id: str) -> bool:
    """Moves the job on as far as what is known allows; True when it became queued. Called again when more is known."""
    job = jobs.locked(session, job_id)
    if job.state != JobState.VALIDATING_FILES:
        return False
    spec = JobSpec.model_validate(job.spec)
    wanted = {"training_file": job.training_file}
    if job.validation_file is not None:
        wanted["validation_file"] = job.validation_file
    files = {param: session.get_one(File, file_id, populate_existing=True) for param, file_id in wanted.items()}
    for param, file in files.items():
        if file.status == FileStatus.ERROR:
            jobs.fail(session, job, code=f"invalid_{param}", message=refusal(file), param=param)
            return False
    if any(file.status != FileStatus.PROCESSED for file in files.values()):
        return False
    training, validation = files["training_file"], files.get("validation_file")
    if job.training_digest is None:
        session.execute(
            update(Job)
            .where(Job.id == job.id)
            .values(
                training_digest=training.canonical_digest,
                validation_digest=validation.canonical_digest if validation else None,
            )
        )
        jobs.show(session, job.id, phase=Phase.INSPECTING)
    model = session.get_one(Model, job.model_id)
    found = {param: inspect(session, file, model, spec.dpo()) for param, file in files.items()}
    return decide(session, job, found)


def decide(session: Session, job: Job, found: dict[str, Inspection | None]) -> bool:
    """Queued when every inspection is there and good, failed when one refuses."""
    for param, inspection in found.items():
        if inspection is None:
            return False
        if inspection.fatal is not None:
            fatal = inspection.fatal
            where = f" (line {fatal.line})" if fatal.line else ""
            jobs.fail(
                session,
                job,
                code=fatal.code,
                message=fatal.message + where,
                param=param if fatal.param in (None, "training_file") else fatal.param,
            )
            return False
        least = MIN_PAIRS if param == "training_file" else 1
        if inspection.usable < least:
            reasons = ", ".join(f"{n} {code}" for code, n in inspection.problem_counts.items()) or "none fits"
            jobs.fail(
                session,
                job,
                code="too_few_pairs",
                message=f"Only {inspection.usable} of {inspection.records} pairs can be used ({reasons}) with "
                f"max_length {inspection.max_length}; at least {least} are needed. "
                "Raise max_length or shorten the pairs.",
                param=param,
            )
            return False
    training = found["training_file"]
    assert training is not None
    jobs.move(
        session,
        job,
        JobState.QUEUED,
        NewEvent(f"Files validated: {training.usable} pairs, {training.records - training.usable} left out. Queued."),
        phase=None,
        data={
            "pairs": training.usable,
            "dropped": training.records - training.usable,
            "digest": job.training_digest,
        },
    )
    return True


def waiting(session: Session, *, file_id: str | None = None, limit: int = 100) -> list[str]:
    """Ids of the jobs in validating_files, all or those that use a file."""
    query = select(Job.id).where(Job.state == JobState.VALIDATING_FILES).order_by(Job.created_at).limit(limit)
    if file_id is not None:
        query = query.where((Job.training_file == file_id) | (Job.validation_file == file_id))
    return list(session.scalars(query))


def waiting_for_inspection(session: Session, payload: dict[str, Any], limit: int = 100) -> list[str]:
    """Ids of the jobs in validating_files that pin these records, for training or for validation."""
    digest = payload.get("digest")
    query = select(Job.id).where(
        Job.state == JobState.VALIDATING_FILES,
        Job.model_id == payload.get("model_id"),
        (Job.training_digest == digest) | (Job.validation_digest == digest),
    )
    return list(session.scalars(query.order_by(Job.created_at).limit(limit)))


def inspect(session: Session, file: File, model: Model, settings: DpoHyperparameters) -> Inspection | None:
    """The stored inspection; None when it is not there yet (then a task for it is)."""
    payload = inspection_of(file.canonical_digest or "", model, settings)
    key = inspection_key(payload)
    row = session.get(InspectionRow, key)
    if row is not None:
        return Inspection.model_validate(row.result)
    tasks.add(session, kind=TaskKind.INSPECT, subject=key, payload=payload)
    return None


def stored_inspection(session: Session, digest: str, model: Model, settings: DpoHyperparameters) -> Inspection:
    """Of a queued job: it is there."""
    row = session.get_one(InspectionRow, inspection_key(inspection_of(digest, model, settings)))
    return Inspection.model_validate(row.result)


def inspection_of(digest: str, model: Model, settings: DpoHyperparameters) -> dict[str, Any]:
    return {
        "digest": digest,
        "model_id": model.id,
        "model_digest": model.digest,
        "max_length": None if settings.max_length == "auto" else settings.max_length,
        "truncation": "drop" if settings.truncation == "auto" else settings.truncation,
    }


def inspection_key(payload: dict[str, Any]) -> str:
    parts = [str(payload[name]) for name in ("digest", "model_digest", "max_length", "truncation")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def store_inspection(session: Session, key: str, result: Inspection) -> None:
    session.execute(
        insert(InspectionRow).values(key=key, result=result.model_dump(mode="json")).on_conflict_do_nothing()
    )


def refusal(file: File) -> str:
    return (
        f"File {file.id} cannot be used: {file.status_details or 'validation failed'} "
        f"See GET /v1/files/{file.id}/errors."
    )
