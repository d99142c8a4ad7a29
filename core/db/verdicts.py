"""What judged files mean for a job on them: what refuses it, what it accepts, what its `auto` settings take."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from core.contract import advice, choice, gate
from core.contract.advice import Recommended, Taken
from core.contract.errors import BadInput
from core.contract.finding import Finding
from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.losses import LossName
from core.contract.preference import Kind
from core.db.remembered import Remembered
from core.db.tables import File, Job


class Verdict(NamedTuple):
    """On one file: findings that block a job, and what its `auto` settings take."""

    blocks: list[Finding]
    advised: Recommended


class Settled(NamedTuple):
    """`taken.asked` is what the job asks for, with what the report decided; `accepted` findings would have blocked."""

    loss: LossName
    taken: Taken
    accepted: list[Finding]


_verdicts: Remembered[Verdict] = Remembered()


def of(session: Session, file: File) -> Verdict:
    """Of a processed file, without reading its megabytes of errors; none is stored of one judged long ago."""

    def read() -> Verdict:
        columns = select(File.report["checks"], File.report["verdict"]).where(File.id == file.id)
        checks, verdict = session.execute(columns).one()
        told: Mapping[str, Any] = verdict or {}
        return Verdict(gate.blocking(checks or []), Recommended.model_validate(told.get("recommended") or {}))

    # A file is judged once.
    found = _verdicts.of(session, file.id, read)
    assert found is not None
    return found


def settle(session: Session, spec: JobSpec, files: Mapping[str, File]) -> Settled:
    """Of processed files by param. BadInput where the loss cannot be made of them, or a finding on one blocks that
    `palate.accept` does not name."""
    training = files["training_file"]
    alike(files)
    found = {param: of(session, file) for param, file in files.items()}
    taken = advice.take(spec.dpo(), kind_of(training), training.data_columns, found["training_file"].advised)
    loss = suited(taken.asked, files)
    accepted: list[Finding] = []
    for param, verdict in found.items():
        refused, more = gate.split(gate.of(verdict.blocks, param), spec.palate.accept)
        if refused:
            raise gate.refusal(refused, source=f"File {files[param].id}", param=param)
        accepted += more
    return Settled(loss, taken, accepted)


def alike(files: Mapping[str, File]) -> None:
    """BadInput where one file's texts are raw and the other's go through the chat template: held-out figures would
    tell of other text than what is trained on."""
    raw = {param: bool(file.options.get("raw_text")) for param, file in files.items()}
    if len(set(raw.values())) > 1:
        one, other = sorted(raw, key=lambda param: raw[param], reverse=True)
        raise BadInput(
            f"`{one}` is a file of raw texts (`palate[raw_text]`), `{other}` is not; upload one of them anew, so that "
            "both are read alike.",
            code="raw_text_mixed",
            param="validation_file",
        )


def of_job(session: Session, job: Job) -> tuple[DpoHyperparameters, LossName]:
    """What a queued job asks for, and its loss; the report of a file never changes once it is there."""
    file = session.get_one(File, job.training_file, options=[defer(File.report)])
    return resolved(session, JobSpec.model_validate(job.spec).dpo(), file)


def resolved(session: Session, asked: DpoHyperparameters, file: File) -> tuple[DpoHyperparameters, LossName]:
    """What is asked for on this file, with what its report decides, and the loss."""
    taken = advice.take(asked, kind_of(file), file.data_columns, of(session, file).advised)
    return taken.asked, choice.loss_of(taken.asked, kind_of(file))


def suited(asked: DpoHyperparameters, files: Mapping[str, File]) -> LossName:
    """The loss that runs on these files (by param, the training file first); BadInput where one cannot serve it.

    What `auto` is, the training file decides.
    """
    loss = choice.loss_of(asked, kind_of(files["training_file"]))
    for param, file in files.items():
        fixed = asked if param == "training_file" else asked.model_copy(update={"loss": loss})
        # Weights in held-out records change nothing that is learned.
        columns = file.data_columns if param == "training_file" else ["margin"]
        choice.check_data(fixed, kind_of(file), columns, param=param)
    return loss


def kind_of(file: File) -> Kind:
    return cast(Kind, file.data_kind or "pair")
