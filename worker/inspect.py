"""The inspection Task: file + model + length through the trainer's own data code, on CPU, before a GPU is taken."""

from collections.abc import Callable
from pathlib import Path

from core import settings
from core.contract.exits import Exit
from core.contract.finding import Finding
from core.contract.manifest import Manifest
from core.contract.run_spec import Fatal, Inspection, InspectSpec
from core.db import admission, models, tasks
from core.db.engine import transaction
from core.db.tasks import TaskClaim
from core.objects.store import Store
from worker import cache, child

# How the child says that its memory is over, itself and in Rust's words, which end the process.
OUT_OF_MEMORY = ("no_memory: ", "memory allocation of ")
TOO_LARGE = (
    "The records need more than {:,} MiB of memory to be rendered and tokenised: shorten the longest ones, split the "
    "file, or look whether the model's chat template repeats texts."
)
SHORTER = "Split the file, or shorten its longest records."
REFUSALS: dict[int | None, str | None] = {Exit.BAD_DATA: None, Exit.BAD_MODEL: "model"}


def inspect(claim: TaskClaim, folder: Path, store: Store, alive: Callable[[], None]) -> None:
    with transaction() as session:
        task = tasks.get(session, claim.id)
        payload = task.payload if task else {}
        model = models.by_id(session, payload["model_id"])
    manifest = Manifest.model_validate(model.manifest)
    spec = InspectSpec(
        model_dir=cache.model(store, model.digest, model.prefix, manifest, lambda _: alive()),
        data=cache.canonical(store, payload["digest"], lambda _: alive()),
        max_length=payload["max_length"],
        truncation=payload["truncation"],
        loss=payload.get("loss", "sigmoid"),
        ties=payload.get("ties", "drop"),
        out=folder / "inspection.json",
        memory_bytes=settings.worker().task_memory_bytes,
    )
    path = folder / "inspect.json"
    path.write_text(spec.model_dump_json())
    training = cache.canonical(store, payload["against"], lambda _: alive()) if payload.get("against") else None
    try:
        result = look(folder, path, spec, alive)
        if training is not None:
            result.checks.append(shared(folder, training, spec, alive))
    except child.TookTooLong as failure:
        result = refused("inspection_took_too_long", f"{failure.message} {SHORTER}", None)
    with transaction() as session:
        admission.store_inspection(session, claim.subject, result)
        tasks.finish(session, claim)
        for job_id in admission.waiting_for_inspection(session, payload):
            admission.advance(session, job_id)


def shared(folder: Path, training: Path, spec: InspectSpec, alive: Callable[[], None]) -> Finding:
    """What the held-out records have in common with the training records."""
    own, out = settings.worker(), folder / "leakage.json"
    arguments = ["--training", str(training), "--validation", str(spec.data), "--out", str(out)]
    arguments += ["--memory-bytes", str(own.task_memory_bytes)]
    read = [training, spec.data]
    child.run(folder, "worker.leakage", *arguments, wall_seconds=own.task_wall_seconds, alive=alive, read=read)
    return Finding.model_validate_json(child.answer(out))


def look(folder: Path, path: Path, spec: InspectSpec, alive: Callable[[], None]) -> Inspection:
    """Data or a model that cannot be used is a finding like any other; only a crash is tried again."""
    wall = settings.worker().task_wall_seconds
    try:
        read = [spec.model_dir, spec.data]
        child.run(folder, "trainer", "inspect", "--spec", str(path), wall_seconds=wall, alive=alive, read=read)
    except child.ChildFailed as failure:
        if failure.last_line.startswith(OUT_OF_MEMORY):
            return refused("inspection_out_of_memory", TOO_LARGE.format(spec.memory_bytes >> 20), "training_file")
        if failure.exit_code not in REFUSALS:
            raise
        code, _, message = failure.last_line.partition(": ")
        return refused(code, message, REFUSALS[failure.exit_code])
    return Inspection.model_validate_json(child.answer(spec.out))


def refused(code: str, message: str, param: str | None) -> Inspection:
    fatal = Fatal(code=code, message=message, param=param)
    return Inspection(records=0, usable=0, max_length=0, context_length=0, fatal=fatal)
