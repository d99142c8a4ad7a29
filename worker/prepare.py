"""Everything an attempt needs, on this node's disk: data, base model, resume point, a spec with nothing `auto`."""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core import settings
from core.contract.errors import Unavailable
from core.contract.job_spec import JobSpec
from core.contract.losses import LOSSES
from core.contract.manifest import Manifest
from core.contract.reference import reference_key
from core.contract.run_spec import Inspection, ResumeFrom, RunSpec, Settings, Unverified
from core.contract.states import Phase, Wish
from core.db import admission, attempts, checkpoints, jobs, models, references, seats, verdicts
from core.db.attempts import Lease
from core.db.engine import transaction
from core.db.events import NewEvent
from core.db.tables import Checkpoint, Job, Model, ReferenceEntry, ResumePoint
from core.objects.store import Store
from planning.facts import known
from planning.memory import recomputes, row_budget, state_bytes
from planning.resolve import exports, held_out_share, resolve, total_steps, trained_on
from worker import cache, node_facts, resume
from worker.patience import patiently
from worker.references import fetch as fetch_entry
from worker.workspace import Workspace

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
THREADS = 8
T = TypeVar("T")


class Unwanted(Exception):
    """The job was cancelled or paused, or its node drained, while it was being prepared."""


class Wanted:
    """Looks once a second, while bytes arrive, whether the job is still wanted; raises Unwanted, or Fenced. While
    Postgres is away, the bytes go on coming for as long as the heartbeat lets the lease live.

    Shared by the threads that download: `give_up` ends the others where one of them failed.
    """

    def __init__(self, lease: Lease, lease_seconds: float) -> None:
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._looked = 0.0
        self._lock = threading.Lock()
        self._given_up = False

    def give_up(self) -> None:
        self._given_up = True

    def look(self, _bytes: int = 0) -> None:
        if self._given_up:
            raise Unwanted
        with self._lock:
            if time.monotonic() - self._looked <= LOOK_SECONDS:
                return
            self._looked = time.monotonic()
        try:
            with transaction() as session:
                wish = attempts.hold(session, self._lease, self._lease_seconds)
        except Unavailable as error:
            log.warning("not looked whether it is still wanted: %s", error)
            return
        if wish != Wish.RUN:
            raise Unwanted


@dataclass(frozen=True)
class Plan:
    """What the job asks for and what was found out about it; read in one transaction.

    finished: the last checkpoint, where an earlier attempt trained to the end; then nothing is done but to verify it.
    furthest: the last step that an earlier attempt is known to have done.
    reference_key is empty for a loss that compares with no reference; seconds_left of max_runtime_seconds, counted from
    here, may be infinite. devices: of the attempt's seat.
    """

    job: Job
    spec: JobSpec
    model: Model
    inspection: Inspection
    settings: Settings
    held_out_share: float
    points: Sequence[ResumePoint]
    finished: tuple[Checkpoint, Model] | None
    furthest: int
    reference_key: str
    entries: list[ReferenceEntry]
    seconds_left: float
    devices: Sequence[str]

    @property
    def pairs(self) -> int:
        """About so many examples are trained on; the trainer's first word says how many."""
        return trained_on(self.inspection.usable, self.held_out_share)

    def row_tokens(self, halvings: int) -> int:
        """The row budget on this node, after so many times out of GPU memory."""
        return row_budget(
            self.settings,
            self.inspection,
            ranks=self.job.ranks,
            facts=known(self.model.facts),
            node=node_facts.facts(),
            halvings=halvings,
        )

    def state_bytes(self) -> int:
        """Of a resume point; 0 where the model was stored without its facts."""
        facts = known(self.model.facts)
        return 0 if facts is None else state_bytes(facts, self.settings)

    def recompute(self) -> bool:
        facts = known(self.model.facts)
        return recomputes(self.settings, self.inspection, ranks=self.job.ranks, facts=facts, node=node_facts.facts())


def read(lease: Lease, lease_seconds: float) -> Plan:
    with transaction() as session:
        job = jobs.locked(session, lease.job_id)
        attempts.hold(session, lease, lease_seconds)
        spec = JobSpec.model_validate(job.spec)
        model = models.by_id(session, job.model_id)
        asked, loss = verdicts.of_job(session, job)
        inspection = admission.stored_inspection(session, job.project_id, job.training_digest or "", model, asked, loss)
        share = held_out_share(spec, inspection.usable)
        pairs = trained_on(inspection.usable, share)
        resolved = resolve(
            asked, pairs=pairs, max_length=inspection.max_length, loss=loss, device=node_facts.facts().device
        )
        # An earlier attempt's, wherever it ran: its points are of that precision.
        precision = (job.resolved or {}).get("precision") or resolved.precision
        resolved = resolved.model_copy(update={"precision": precision})
        finished = checkpoints.finished(session, job.id)
        points = [] if finished else checkpoints.resume_points(session, job.id)
        key = reference_key(model.digest, resolved.precision) if LOSSES[loss].reference else ""
        # A resume point holds its run's reference.
        data = [digest for digest in (job.training_digest, job.validation_digest) if digest]
        entries = references.find(session, job.project_id, key, data) if key and not (points or finished) else []
        jobs.show(session, job.id, phase=Phase.DOWNLOADING)
        left = (spec.palate.max_runtime_seconds or math.inf) - attempts.seconds_held(session, job.id)
        furthest = attempts.furthest_step(session, job.id)
        held = seats.devices(session, job.id, lease.epoch)
        return Plan(job, spec, model, inspection, resolved, share, points, finished, furthest, key, entries, left, held)


def prepare(plan: Plan, lease: Lease, space: Workspace, store: Store) -> RunSpec:
    """Downloads (each by digest, most of them in the node's cache already), resolves, writes run.json."""
    job, options = plan.job, plan.spec.palate
    own = settings.worker()
    here = download(plan, lease, space, store, Wanted(lease, own.scaled(own.lease_seconds)))
    spec = RunSpec(
        run_id=f"{lease.job_id}-a{lease.epoch}",
        workspace=space.path,
        model_dir=here.model,
        model_digest=plan.model.digest,
        model_name=plan.model.name,
        train_data=here.train,
        train_digest=job.training_digest or "",
        eval_data=here.held_out,
        eval_digest=job.validation_digest,
        held_out_share=plan.held_out_share,
        world_size=1 if here.unverified else job.ranks,
        device=node_facts.facts().device,
        seed=job.seed,
        settings=plan.settings,
        row_tokens=plan.row_tokens(job.halvings),
        recompute=plan.recompute(),
        reference_key=plan.reference_key,
        reference_entries=here.entries,
        export=exports(plan.spec),
        checkpoint_steps=None if options.checkpoint.every_steps == "auto" else options.checkpoint.every_steps,
        eval_steps=None if options.eval.every_steps == "auto" else options.eval.every_steps,
        resume_steps=own.resume_steps,
        resume_seconds=own.resume_seconds,
        resume_spacing=own.resume_spacing,
        probe_prompts=list(options.probe_prompts),
        clock=job.created_at,
        resume_from=here.resume,
        unverified=here.unverified,
    )
    space.spec.write_text(spec.model_dump_json(indent=1))
    patiently(lambda: told(plan, here, lease, own.scaled(own.lease_seconds)), "telling what was resolved")
    return spec


def told(plan: Plan, here: "Here", lease: Lease, lease_seconds: float) -> None:
    said = begins(plan, here)
    with transaction() as session:
        jobs.locked(session, lease.job_id)
        if attempts.hold(session, lease, lease_seconds) != Wish.RUN:
            raise Unwanted
        shown = echo(plan.settings, plan.spec, plan.pairs)
        jobs.show(session, lease.job_id, *([said] if said else []), resolved=shown)


def begins(plan: Plan, here: "Here") -> NewEvent | None:
    """What this attempt does again of what an earlier one did, or what it is spared."""
    if plan.finished is not None:
        step = plan.finished[0].step
        message = f"The model of step {step} is stored already: it is verified, and nothing is trained again."
        return NewEvent(message, data={"type": "verifies_alone", "step": step})
    from_step = resume.step_of(here.resume, plan.points)
    if plan.furthest > from_step:
        message = (
            f"Steps {from_step + 1} to {plan.furthest} were trained before and are trained again: "
            "the attempt that died had left no later resume point."
        )
        data = {"type": "trained_again", "from": from_step, "to": plan.furthest}
        return NewEvent(message, level="warn", data=data)
    return None


@dataclass(frozen=True)
class Here:
    """On this node's disk."""

    model: Path
    train: Path
    held_out: Path | None
    resume: ResumeFrom | None
    entries: list[Path]
    unverified: Unverified | None


def download(plan: Plan, lease: Lease, space: Workspace, store: Store, wish: Wanted) -> Here:
    """All at once: the largest decides how long it takes."""
    job = plan.job
    base = Manifest.model_validate(plan.model.manifest)
    with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="download") as pool:

        def begin(get: Callable[..., T], *arguments: Any) -> "Future[T]":
            return pool.submit(get, *arguments, wish.look)

        model = begin(cache.model, store, plan.model.digest, plan.model.prefix, base)
        train = begin(cache.canonical, store, job.training_digest or "")
        held_out = begin(cache.canonical, store, job.validation_digest) if job.validation_digest else None
        point = begin(resume.fetch, plan.points, lease, space, store) if plan.points else None
        finished = begin(resume.finished, *plan.finished, space, store) if plan.finished else None
        entries = [begin(fetch_entry, entry, lease, store) for entry in plan.entries]
        begun = [each for each in (model, train, held_out, point, finished, *entries) if each is not None]
        for done in as_completed(begun):
            if done.exception() is not None:
                wish.give_up()
                for other in begun:
                    other.cancel()
                done.result()
    return Here(
        model.result(),
        train.result(),
        held_out.result() if held_out else None,
        point.result() if point else None,
        [path for each in entries if (path := each.result()) is not None],
        finished.result() if finished else None,
    )


def echo(resolved: Settings, spec: JobSpec, pairs: int) -> dict[str, object]:
    """What the job shows as its hyperparameters once the run has started: numbers where `auto` stood."""
    multiplier = spec.dpo().learning_rate_multiplier
    shown = json.loads(resolved.model_dump_json())
    return {
        **shown,
        "max_steps": total_steps(resolved, pairs),
        "learning_rate_multiplier": 1.0 if multiplier == "auto" else multiplier,
    }
