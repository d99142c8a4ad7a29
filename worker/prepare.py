"""Everything an attempt needs, on this node's disk: data, base model, resume point, a spec with nothing `auto`."""

import json
import time
from dataclasses import dataclass

from core import settings
from core.contract import manifest as manifests
from core.contract.job_spec import JobSpec
from core.contract.manifest import Manifest
from core.contract.run_spec import Inspection, ResumeFrom, RunSpec, Settings
from core.contract.states import Desired, Phase
from core.db import admission, attempts, checkpoints, jobs, models
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.tables import Job, Model, ResumePoint
from core.objects.store import Progress, Store
from planning.resolve import micro_batch, resolve, total_steps
from worker import cache
from worker.workspace import Workspace

LOOK_SECONDS = 1.0


class Cancelled(Exception):
    """The user took the job back while it was being prepared."""


class Wish:
    """Looks once a second, while bytes arrive, whether the job is still wanted; raises Cancelled, or Fenced."""

    def __init__(self, lease: Lease, lease_seconds: float) -> None:
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._looked = 0.0

    def look(self, _bytes: int = 0, *, now: bool = False) -> None:
        if now or time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with transaction() as session:
                if attempts.hold(session, self._lease, self._lease_seconds) == Desired.CANCEL:
                    raise Cancelled


@dataclass(frozen=True)
class Plan:
    """What the job asks for and what was found out about it; read in one transaction."""

    job: Job
    spec: JobSpec
    model: Model
    inspection: Inspection
    resume: ResumePoint | None


def read(lease: Lease, lease_seconds: float) -> Plan:
    with transaction() as session:
        job = jobs.locked(session, lease.job_id)
        attempts.hold(session, lease, lease_seconds)
        spec = JobSpec.model_validate(job.spec)
        model = models.by_id(session, job.model_id)
        inspection = admission.stored_inspection(session, job.training_digest or "", model, spec.dpo())
        jobs.show(session, job.id, phase=Phase.DOWNLOADING)
        return Plan(job, spec, model, inspection, checkpoints.newest_resume_point(session, job.id))


def prepare(plan: Plan, lease: Lease, space: Workspace, store: Store) -> RunSpec:
    """Downloads (each by digest, most of them in the node's cache already), resolves, writes run.json."""
    job, options = plan.job, plan.spec.palate
    resolved = resolve(plan.spec.dpo(), pairs=plan.inspection.usable, max_length=plan.inspection.max_length)
    own = settings.worker()
    wish = Wish(lease, own.scaled(own.lease_seconds))
    base = Manifest.model_validate(plan.model.manifest)
    spec = RunSpec(
        run_id=f"{lease.job_id}-a{lease.epoch}",
        workspace=space.path,
        model_dir=cache.model(store, plan.model.digest, plan.model.prefix, base, wish.look),
        model_digest=plan.model.digest,
        train_data=cache.canonical(store, job.training_digest or "", wish.look),
        train_digest=job.training_digest or "",
        eval_data=cache.canonical(store, job.validation_digest, wish.look) if job.validation_digest else None,
        eval_digest=job.validation_digest,
        world_size=job.ranks,
        seed=job.seed,
        settings=resolved,
        micro_batch_size=micro_batch(resolved.batch_size, job.ranks, resolved.max_length),
        checkpoint_steps=None if options.checkpoint.every_steps == "auto" else options.checkpoint.every_steps,
        eval_steps=None if options.eval.every_steps == "auto" else options.eval.every_steps,
        resume_steps=own.resume_steps,
        resume_seconds=own.resume_seconds,
        probe_prompts=list(options.probe_prompts),
        resume_from=fetch(plan.resume, space, store, wish.look) if plan.resume else None,
    )
    space.spec.write_text(spec.model_dump_json(indent=1))
    wish.look(now=True)
    with transaction() as session:
        jobs.locked(session, lease.job_id)
        attempts.hold(session, lease, own.scaled(own.lease_seconds))
        jobs.show(session, lease.job_id, resolved=echo(resolved, plan.spec, plan.inspection.usable))
    return spec


def fetch(point: ResumePoint, space: Workspace, store: Store, progress: Progress) -> ResumeFrom:
    """The newest resume point; every file has the sha256 that Postgres knows before anything reads it."""
    manifest = Manifest.model_validate(point.manifest)
    folder = space.path / "resume_from"
    store.download_folder(manifest, point.prefix, folder, progress=progress)
    manifests.write(folder, manifest)
    return ResumeFrom(path=folder, manifest_digest=manifest.digest())


def echo(resolved: Settings, spec: JobSpec, pairs: int) -> dict[str, object]:
    """What the job shows as its hyperparameters once the run has started: numbers where `auto` stood."""
    multiplier = spec.dpo().learning_rate_multiplier
    shown = json.loads(resolved.model_dump_json())
    return {
        **shown,
        "max_steps": total_steps(resolved, pairs),
        "learning_rate_multiplier": 1.0 if multiplier == "auto" else multiplier,
    }
