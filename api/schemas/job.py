"""Job: every key is there, null when unknown."""

import time
from typing import Any, Literal, Self

from pydantic import BaseModel

from api.schemas.listing import Item
from api.schemas.moment import unix, unix_or_none
from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.states import JobState
from core.db import tables
from core.db.standings import Standing

OPENAI = ("beta", "batch_size", "n_epochs", "learning_rate_multiplier")


class JobError(BaseModel):
    code: str
    message: str
    param: str | None


class DpoEcho(BaseModel):
    """What was asked; once the run has started each `auto` is the number that it became."""

    hyperparameters: dict[str, Any]


class MethodEcho(BaseModel):
    type: Literal["dpo"] = "dpo"
    dpo: DpoEcho


class Progress(BaseModel):
    """`phase_done` of `phase_total` (pairs, parameters, prompts) in a phase that has no steps."""

    step: int | None
    total_steps: int | None
    percent: float | None
    pairs_per_second: float | None
    eta_seconds: float | None
    phase_done: int | None
    phase_total: int | None


class Queue(BaseModel):
    """`position` 1 is the next of its project, whatever others have waiting; `reason` says why it has not started:
    no_node_large_enough, backing_off, project_at_max_running or waiting_for_slots."""

    position: int
    reason: str | None


class Attempt(BaseModel):
    number: int
    node: str
    world_size: int
    resumed_from_step: int | None


class JobData(BaseModel):
    """Examples that are trained on; records that were left out, and why by code; ties of which nothing is made;
    examples held out of the training file. Until the run has begun, `pairs` holds what will be held out as well, and
    `held_out` is null.
    """

    pairs: int | None
    dropped: int | None
    left_out: dict[str, int] | None
    ties_left_out: int | None
    held_out: int | None
    digest: str | None


class Extension(BaseModel):
    """`version` rises with each visible change: wait for the next one with `?wait=60&since=<version>`."""

    version: int
    phase: str | None
    progress: Progress | None
    queue: Queue | None
    attempt: Attempt | None
    data: JobData | None


class Job(Item):
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: JobState
    hyperparameters: dict[str, Any]
    method: MethodEcho
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    error: JobError | None
    seed: int
    estimated_finish: int | None
    integrations: list[Any]
    metadata: dict[str, str] | None
    palate: Extension

    @classmethod
    def of(cls, row: tables.Job, standing: Standing) -> Self:
        spec = JobSpec.model_validate(row.spec)
        settings = echo(spec.dpo(), row.resolved or {})
        return cls(
            id=row.id,
            created_at=unix(row.created_at),
            finished_at=unix_or_none(row.finished_at),
            model=spec.model,
            fine_tuned_model=row.fine_tuned_model,
            organization_id=row.project_id,
            status=JobState(row.state),
            hyperparameters={name: settings[name] for name in OPENAI},
            method=MethodEcho(dpo=DpoEcho(hyperparameters=settings)),
            training_file=row.training_file,
            validation_file=row.validation_file,
            result_files=row.result_files,
            trained_tokens=row.trained_tokens,
            error=None if row.error is None else JobError(**{"param": None, **row.error}),
            seed=row.seed,
            estimated_finish=estimated_finish(row),
            integrations=[],
            metadata=row.metadata_,
            palate=Extension(
                version=row.version,
                phase=row.phase,
                progress=None if row.progress is None else Progress(**unknown(Progress) | row.progress),
                queue=None if standing.position is None else Queue(position=standing.position, reason=standing.reason),
                attempt=None if standing.attempt is None else attempt_of(standing.attempt),
                data=None if row.data is None else JobData(**unknown(JobData) | row.data),
            ),
        )


def echo(asked: DpoHyperparameters, resolved: dict[str, Any]) -> dict[str, Any]:
    return {name: resolved.get(name, value) for name, value in asked.model_dump().items()}


def estimated_finish(row: tables.Job) -> int | None:
    eta = (row.progress or {}).get("eta_seconds")
    return int(time.time() + eta) if row.state == JobState.RUNNING and eta is not None else None


def attempt_of(row: tables.Attempt) -> Attempt:
    return Attempt(number=row.epoch, node=row.node, world_size=row.slots, resumed_from_step=row.resumed_from_step)


def unknown(model: type[BaseModel]) -> dict[str, Any]:
    """A null for every key: what was stored fills in what is known."""
    return dict.fromkeys(model.model_fields)
