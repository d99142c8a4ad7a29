"""The validation Task: the file from the store, its checks in a child, canonical records and report back."""

import json
from collections.abc import Callable
from pathlib import Path

from core import beneath, settings
from core.contract.errors import Unavailable
from core.db import admission, files, tasks
from core.db.engine import transaction
from core.db.tasks import TaskClaim
from core.objects import keys
from core.objects.parts import read_parts
from core.objects.store import Store
from preferences.report import FileError, Report
from worker import child

CHOICES = ("format", "mapping", "raw_text", "on_error", "max_bad_fraction")


def validate(claim: TaskClaim, folder: Path, store: Store, alive: Callable[[], None]) -> None:
    with transaction() as session:
        file = files.waiting_for_checks(session, claim.subject)
        if file is None:
            tasks.finish(session, claim)
            return
    source, canonical, written = folder / "source", folder / "canonical.jsonl.zst", folder / "report.json"
    store.download(file.object_key, source, bytes=file.bytes, sha256=file.sha256, progress=lambda _: alive())
    try:
        check(folder, source, canonical, written, name=file.filename, options=file.options, alive=alive)
    except child.TookTooLong as failure:
        # A verdict: it would again, and hold the slot for as long.
        message = f"The checks of this file took too long: {failure.message} Split it into several files."
        record(claim, Report(error=FileError(code="validation_took_too_long", message=message)), None, store)
        return
    report = Report.model_validate_json(child.answer(written))
    digest = report.digest if report.usable else None
    if digest is not None and store.head(keys.canonical(digest)) is None:
        announce(digest)
        with beneath.open_file(folder, canonical.name) as stream:
            store.put_stream(keys.canonical(digest), read_parts(stream), progress=lambda _: alive())
    record(claim, report, digest, store)


def announce(digest: str) -> None:
    """Before the upload: records that find no user are collected."""
    with transaction() as session:
        tasks.collect(session, digest, canonical_digest=digest)


def check(
    folder: Path,
    source: Path,
    canonical: Path,
    report: Path,
    *,
    name: str,
    options: dict[str, object],
    alive: Callable[[], None],
) -> None:
    """What the user chose goes by a file: arguments have an end, and other users of the machine see them."""
    own = settings.worker()
    asked = folder / "asked.json"
    chosen = {each: options[each] for each in CHOICES if each in options}
    asked.write_text(json.dumps({**chosen, "name": name}))
    values: dict[str, object] = {"source": source, "canonical": canonical, "report": report, "asked": asked}
    values["memory_bytes"] = own.task_memory_bytes
    arguments = [f"--{each.replace('_', '-')}={value}" for each, value in values.items()]
    child.run(folder, "worker.validate", *arguments, wall_seconds=own.task_wall_seconds, alive=alive)


def record(claim: TaskClaim, report: Report, digest: str | None, store: Store) -> None:
    """The verdict, the task's end, and what it means for the jobs that wait: one transaction."""
    shown = json.loads(report.model_dump_json())
    with transaction() as session:
        if digest is not None and report.kind is not None:
            files.lock_canonical(session, digest)
            if tasks.deleting(session, digest) or not store.has(keys.canonical(digest)):
                raise Unavailable("The canonical records were deleted meanwhile; validating again.")
            files.processed(
                session,
                claim.subject,
                report=shown,
                canonical_digest=digest,
                records=report.counts.usable,
                kind=report.kind,
                columns=report.columns,
                details=report.status_details,
            )
        else:
            error = report.error
            code = error.code if error else "invalid_training_file"
            files.refused(
                session,
                claim.subject,
                code=code,
                details=report.status_details or (error.message if error else code),
                report=shown,
            )
        tasks.finish(session, claim)
        for job_id in admission.waiting(session, file_id=claim.subject):
            admission.advance(session, job_id)
