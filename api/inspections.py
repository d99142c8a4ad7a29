"""A file as a model's trainer would see it: the inspection of both, asked for where it is not there yet."""

from collections.abc import Sequence
from typing import NamedTuple

from core.contract.errors import BadInput
from core.contract.finding import Finding
from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Inspection
from core.contract.states import FileStatus
from core.db import admission, events, jobs, models, submit, verdicts
from core.db.engine import Session
from core.db.tables import File
from preferences.checks.advice import weigh, worst_first
from preferences.report import FileError, Inspected, Report, Spread


class Seen(NamedTuple):
    """`inspection` None: under way, or waiting for the file's checks."""

    inspection: Inspection | None
    loss: str


def see(session: Session, project_id: str, file: File, model_name: str) -> Seen:
    """With the settings that a job leaves at `auto`. BadInput for an unknown model and for a refused file."""
    model = submit.known_model(session, project_id, model_name)
    if file.status == FileStatus.ERROR:
        raise BadInput(admission.refusal(file), code="invalid_training_file", param="file_id")
    if file.status != FileStatus.PROCESSED or file.canonical_digest is None:
        return Seen(None, "")
    asked, loss = verdicts.resolved(session, DpoHyperparameters(), file)
    return Seen(admission.inspect(session, file, model, asked, loss), loss)


def of_model(report: Report, inspection: Inspection, model: str) -> Report:
    """The report with what only the tokenizer shows."""
    seen = Inspected(
        model=model,
        max_length=inspection.max_length,
        records=inspection.records,
        usable=inspection.usable,
        problems=inspection.problem_counts,
        lengths={name: Spread(**each.model_dump()) for name, each in inspection.lengths.items()},
        error=inspection.fatal and FileError(code=inspection.fatal.code, message=inspection.fatal.message),
    )
    return merged(report, inspection.checks).model_copy(update={"inspection": seen})


class OfJob(NamedTuple):
    """What the job's reference pass has found, and its inspection; nothing before them. `model`: its base."""

    findings: list[Finding]
    inspection: Inspection | None
    model: str


def of_job(session: Session, project_id: str, file: File, job_id: str) -> OfJob:
    """BadInput for a job on another file."""
    job = jobs.get(session, project_id, job_id)
    if job.training_file != file.id:
        raise BadInput(f"Job {job_id} was trained on file {job.training_file}, not on this one.", param="job")
    model, known = models.by_id(session, job.model_id), None
    if job.training_digest is not None:
        asked, loss = verdicts.of_job(session, job)
        known = admission.known_inspection(
            session, admission.inspection_of(project_id, job.training_digest, model, asked, loss)
        )
    return OfJob(events.findings(session, job_id), known, model.name)


def merged(report: Report, more: Sequence[Finding]) -> Report:
    """The report with further checks, and a verdict over all of them. What is there already is not told twice."""
    known = {each.code for each in report.checks}
    checks = worst_first([*report.checks, *(each for each in more if each.code not in known)])
    verdict = weigh(checks, report.kind, report.columns) if report.kind else report.verdict
    return report.model_copy(update={"checks": checks, "verdict": verdict})
