"""From validating_files to queued: first the files' checks, then the inspection of file + model + length."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from core.contract import bands, gate
from core.contract.errors import BadInput
from core.contract.finding import Finding
from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import RENDERER_VERSION, Fatal, Inspection
from core.contract.states import Desired, FileStatus, JobState, Phase, TaskKind
from core.db import events, jobs, tasks, verdicts
from core.db.events import NewEvent
from core.db.remembered import Remembered
from core.db.tables import File, Job, Model
from core.db.tables import Inspection as InspectionRow
from core.db.verdicts import Settled

MIN_PAIRS = 10
TEMPLATE = "template_render_failed"
_inspections: Remembered[Inspection] = Remembered()


def advance(session: Session, job_id: str) -> bool:
    """Moves the job on as far as what is known allows; True when it became queued. Called again when more is known."""
    job = jobs.locked(session, job_id)
    if job.state != JobState.VALIDATING_FILES:
        return False
    spec = JobSpec.model_validate(job.spec)
    wanted = {"training_file": job.training_file}
    if job.validation_file is not None:
        wanted["validation_file"] = job.validation_file
    unread = [defer(File.report)]
    files = {
        param: session.get_one(File, file_id, populate_existing=True, options=unread)
        for param, file_id in wanted.items()
    }
    for param, file in files.items():
        if file.status == FileStatus.ERROR:
            jobs.fail(session, job, code=f"invalid_{param}", message=refusal(file), param=param)
            return False
    if any(file.status != FileStatus.PROCESSED for file in files.values()):
        return False
    try:
        settled = verdicts.settle(session, spec, files)
    except BadInput as refused:
        jobs.fail(session, job, code=refused.code, message=refused.message, param=refused.param)
        return False
    asked, loss = settled.taken.asked, settled.loss
    training, validation = files["training_file"], files.get("validation_file")
    if job.training_digest is None:
        jobs.show(
            session,
            job.id,
            phase=Phase.INSPECTING,
            training_digest=training.canonical_digest,
            validation_digest=validation.canonical_digest if validation else None,
        )
        events.append(session, job.id, *told(settled))
    model = session.get_one(Model, job.model_id)
    found = inspect_all(session, files, model, asked, loss)
    if not decide(session, job, files, found, spec.palate.accept):
        return False
    warn(session, job, asked, loss)
    return True


def told(settled: Settled) -> Iterator[NewEvent]:
    """What the data report decided, and what it found that the user takes."""
    if settled.taken.settings:
        yield NewEvent(settled.taken.message, data={"recommended": settled.taken.settings})
    if settled.accepted:
        yield accepts(settled.accepted)


def accepts(findings: list[Finding]) -> NewEvent:
    message = f"Findings that {gate.ACCEPT} takes as they are: {gate.told(findings)}."
    return NewEvent(message, level="warn", data={"accepted": list(dict.fromkeys(each.code for each in findings))})


def warn(session: Session, job: Job, asked: DpoHyperparameters, loss: LossName) -> None:
    found = bands.warnings(asked, loss)
    events.append(session, job.id, *(NewEvent(text, level="warn", data={"param": param}) for param, text in found))


def decide(
    session: Session,
    job: Job,
    files: Mapping[str, File],
    found: dict[str, Inspection | None],
    accept: Collection[str],
) -> bool:
    """Queued when every inspection is there and good, failed when one refuses."""
    accepted: list[Finding] = []
    for param, inspection in found.items():
        if inspection is None:
            return False
        refused = unusable(param, inspection, files[param].options, accept)
        if refused is not None:
            jobs.fail(session, job, code=refused.code, message=refused.message, param=refused.param)
            return False
        accepted += blocks(param, inspection)
    if accepted:
        events.append(session, job.id, accepts(accepted))
    training = found["training_file"]
    assert training is not None
    inspections = {param: inspection for param, inspection in found.items() if inspection is not None}
    events.append(session, job.id, *notices(inspections))
    jobs.move(
        session,
        job,
        JobState.QUEUED,
        validated(inspections),
        phase=None,
        data={
            "pairs": training.usable,
            "dropped": training.dropped,
            "left_out": training.problem_counts,
            "ties_left_out": training.ties,
            "digest": job.training_digest,
        },
    )
    if job.desired == Desired.PAUSE:
        jobs.move(session, job, JobState.PAUSED, NewEvent("Job paused."))
    return True


def validated(inspections: Mapping[str, Inspection]) -> NewEvent:
    """What there is to train on, and what of the files is not used and why: at level warn where records fell out."""
    training = inspections["training_file"]
    held_out = inspections.get("validation_file")
    words = f"Files validated: {training.usable:,} examples, {training.left_out}"
    if held_out is not None:
        words += f"; {held_out.usable:,} held out, {held_out.left_out}"
    fell = {param: each.problem_counts for param, each in inspections.items() if each.dropped}
    return NewEvent(f"{words}. Queued.", level="warn" if fell else "info", data={"left_out": fell} if fell else None)


def notices(inspections: Mapping[str, Inspection]) -> Iterator[NewEvent]:
    """What the checks with the model's tokenizer warn of, and what would block were it not of held-out data."""
    for param, inspection in inspections.items():
        decided = blocks(param, inspection)
        for each in inspection.checks:
            if each.severity != "info" and each not in decided:
                words = f"`{param}` with this model: {gate.told([each])}. {each.action}"
                yield NewEvent(words, level="warn", data={"param": param, "code": each.code, "detail": each.detail})


def unusable(
    param: str, inspection: Inspection, options: Mapping[str, Any], accept: Collection[str]
) -> BadInput | None:
    """Why no job can be made of this data with this model, its code and the first line that shows it."""
    fatal = inspection.fatal
    broken = next((each for each in inspection.problems if each.code == TEMPLATE), None)
    if fatal is None and broken is not None and options.get("on_error") != "skip":
        hint = "Mend that record, or upload the file with palate[on_error]=skip to leave such records out."
        fatal = Fatal(code=TEMPLATE, message=f"{broken.message} {hint}", line=broken.line)
    if fatal is not None:
        where = f" (line {fatal.line})" if fatal.line else ""
        at = param if fatal.param in (None, "training_file") else fatal.param
        return BadInput(fatal.message + where, code=fatal.code, param=at)
    least = MIN_PAIRS if param == "training_file" else 1
    if inspection.usable >= least:
        refused, _ = gate.split(blocks(param, inspection), accept)
        return gate.refusal(refused, source=f"`{param}` with this model", param=param) if refused else None
    left_out = inspection.problem_counts | (
        {"ties (see the setting `ties`)": inspection.ties} if inspection.ties else {}
    )
    reasons = ", ".join(f"{n} {code}" for code, n in left_out.items()) or "none fits"
    return BadInput(
        f"Only {inspection.usable} examples of {inspection.records} records can be used ({reasons}) "
        f"with max_length {inspection.max_length}; at least {least} are needed. "
        "Raise max_length or shorten the records.",
        code="too_few_pairs",
        param=param,
    )


def blocks(param: str, inspection: Inspection) -> list[Finding]:
    return gate.of((each for each in inspection.checks if each.severity == "block"), param)


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
    if payload.get("project"):
        query = query.where(Job.project_id == payload["project"])
    return list(session.scalars(query.order_by(Job.created_at).limit(limit)))


def inspect_all(
    session: Session, files: Mapping[str, File], model: Model, asked: DpoHyperparameters, loss: LossName
) -> dict[str, Inspection | None]:
    """By param; the held-out file is compared with the training file as well."""
    training = files["training_file"].canonical_digest
    return {
        param: inspect(session, file, model, asked, loss, against=None if param == "training_file" else training)
        for param, file in files.items()
    }


def inspect(
    session: Session,
    file: File,
    model: Model,
    asked: DpoHyperparameters,
    loss: LossName,
    *,
    against: str | None = None,
) -> Inspection | None:
    """The stored inspection; None when it is not there yet (then a task for it is). `against`: digest of the training
    records in which none of these prompts should stand."""
    payload = inspection_of(file.project_id, file.canonical_digest or "", model, asked, loss, against)
    found = known_inspection(session, payload)
    if found is None:
        tasks.add(
            session,
            kind=TaskKind.INSPECT,
            subject=inspection_key(payload),
            payload=payload,
            project_id=file.project_id,
        )
    return found


def stored_inspection(
    session: Session,
    project_id: str,
    digest: str,
    model: Model,
    asked: DpoHyperparameters,
    loss: LossName = "sigmoid",
) -> Inspection:
    """Of a queued job: it is there. A job of before an upgrade was queued by what was seen then."""
    payload = inspection_of(project_id, digest, model, asked, loss)
    versions = [(whose, version) for whose in (project_id, None) for version in range(RENDERER_VERSION, 0, -1)]
    seen = (known_inspection(session, payload | {"project": whose, "renderer": each}) for whose, each in versions)
    found = next((each for each in seen if each is not None), None)
    if found is None:
        raise LookupError("a queued job has no inspection")
    return found


def known_inspection(session: Session, payload: dict[str, Any]) -> Inspection | None:
    key = inspection_key(payload)

    def read() -> Inspection | None:
        row = session.get(InspectionRow, key)
        return None if row is None else Inspection.model_validate(row.result)

    return _inspections.of(session, key, read)


def inspection_of(
    project_id: str,
    digest: str,
    model: Model,
    asked: DpoHyperparameters,
    loss: LossName,
    against: str | None = None,
) -> dict[str, Any]:
    """What decides the result, and whose it is: a quick answer would tell that another has the same data. All pairwise
    losses see the same examples."""
    return {
        "project": project_id,
        "digest": digest,
        "model_id": model.id,
        "model_digest": model.digest,
        "max_length": None if asked.max_length == "auto" else asked.max_length,
        "truncation": "drop" if asked.truncation == "auto" else asked.truncation,
        "loss": "sigmoid" if LOSSES[loss].unit == "pair" else loss,
        "ties": "drop" if asked.ties == "auto" else asked.ties,
        "against": against,
        "renderer": RENDERER_VERSION,
    }


def inspection_key(payload: dict[str, Any]) -> str:
    parts = [str(payload[name]) for name in ("digest", "model_digest", "max_length", "truncation", "loss")]
    if payload.get("ties", "drop") != "drop":
        parts.append(payload["ties"])
    if payload.get("against"):
        parts.append("against " + payload["against"])
    if payload.get("renderer", 1) != 1:
        parts.append(f"renderer {payload['renderer']}")
    if payload.get("project"):  # older ones have none
        parts.append("project " + payload["project"])
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
