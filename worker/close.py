"""The end of an attempt: results first, then one transaction that closes it and moves the job."""

import csv
import io
import logging
import random
from collections.abc import Callable
from dataclasses import replace

from core import ids, settings
from core.contract.manifest import Manifest
from core.contract.states import JobState
from core.db import attempts, checkpoints, files, jobs, metrics
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.objects import keys
from core.objects.store import Store
from worker.patience import patiently

log = logging.getLogger(__name__)


def surely(
    lease: Lease,
    ending: Ending,
    retries: int,
    also: Callable[[Session], None] | None = None,
    *,
    seats_end: bool = True,
) -> JobState:
    """In one transaction with what `also` writes; raises Unavailable when Postgres stays away, and then the lease
    ends by itself. `seats_end`: as attempts.close's."""
    if ending.retry:
        ending = replace(ending, delay_seconds=backoff(retries))
    state = patiently(lambda: close(lease, ending, also, seats_end), "closing the attempt")
    log.info("job %s is %s", lease.job_id, state)
    return state


def close(lease: Lease, ending: Ending, also: Callable[[Session], None] | None, seats_end: bool) -> JobState:
    with transaction() as session:
        attempts.check(session, lease)
        if also is not None:
            also(session)
        state = attempts.close(session, lease, ending, seats_end=seats_end)
        if state.terminal:
            checkpoints.drop_resume_points(session, lease.job_id)
        return state


def halved(row_tokens: int, batch_size: int) -> str:
    return (
        f"The GPU ran out of memory: row budget halved to {row_tokens} tokens; the global batch stays {batch_size}. "
        "The job goes on from its last resume point."
    )


def backoff(retries: int) -> float:
    """10 s x 2^n with full jitter, at most 10 min; the first retry comes at once."""
    own = settings.worker()
    if retries == 0:
        return 0.0
    return random.uniform(0, own.scaled(min(own.backoff_seconds * 2**retries, own.backoff_limit_seconds)))


def results(lease: Lease, store: Store, step: int | None) -> Callable[[Session], None]:
    """Stores the result files (metrics by step, then the manifest); what comes back lists them and names the model."""
    if step is None:
        raise RuntimeError("the trainer finished without a model that it has verified")
    table, manifest = trained(lease.job_id, step)
    bodies = {"step_metrics.csv": as_csv(table), "manifest.json": manifest.model_dump_json(indent=1).encode()}
    stored = {name: store.put(keys.result_file(lease.job_id, lease.epoch, name), body) for name, body in bodies.items()}

    def commit(session: Session) -> None:
        job = jobs.locked(session, lease.job_id)
        listed = [
            files.create(
                session,
                file_id=ids.file_id(),
                project_id=job.project_id,
                filename=name,
                purpose=files.RESULTS,
                bytes=written.bytes,
                sha256=written.sha256,
                object_key=keys.result_file(lease.job_id, lease.epoch, name),
            ).id
            for name, written in stored.items()
        ]
        checkpoints.commit_final(session, job, checkpoints.model_at(session, lease.job_id, step), listed)

    return commit


def trained(job_id: str, step: int) -> tuple[dict[str, list[object]], Manifest]:
    """The metrics by step, and what the model of this step consists of."""
    with transaction() as session:
        model = checkpoints.model_at(session, job_id, step)
        return metrics.columns(session, job_id), Manifest.model_validate(model.manifest)


def as_csv(table: dict[str, list[object]]) -> bytes:
    names = ["step", *[name for name in table if name != "step"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(["" if v is None else v for v in table[name]] for name in names), strict=True))
    return text.getvalue().encode()
