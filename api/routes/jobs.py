"""/v1/fine_tuning/jobs"""

import re
import time
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from api import forecasts
from api.answers import refuses
from api.deps import CallerDep, JsonBodyDep, ServicesDep
from api.paging import After, Limit
from api.schemas.checkpoint import Checkpoint
from api.schemas.event import Event
from api.schemas.job import Job
from api.schemas.listing import Page
from api.schemas.log import Logs
from api.submission import idempotency_key, job_spec, retry_count
from core.db import checkpoints, events, jobs, metrics, rank_logs, standings, submit
from core.db.engine import after_commit, reading, transaction

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)
BODY_SCHEMA = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobSpec"}}}}


@router.post("", openapi_extra={"requestBody": BODY_SCHEMA}, responses=refuses(409, 422))
def create(
    body: JsonBodyDep,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    key: Annotated[str | None, Header(alias="idempotency-key")] = None,
    retries: Annotated[str | None, Header(alias="x-stainless-retry-count", include_in_schema=False)] = None,
) -> Job:
    """The same key and body again: the same job, with the header `x-palate-replayed: true`."""
    spec = job_spec(body.value)
    with transaction() as session:
        job, replayed = submit.create(
            session,
            project_id=caller.project_id,
            key_id=caller.key_id,
            spec=spec,
            body_sha256=body.sha256,
            idempotency_key=idempotency_key(key),
            retry_count=retry_count(retries),
            judge=partial(forecasts.check, session, spec),
        )
        shown = Job.of(job, standings.of(session, [job])[job.id])
        after_commit(session, services.bell.ring)
    if replayed:
        response.headers["x-palate-replayed"] = "true"
    return shown


@router.get("")
def page(request: Request, caller: CallerDep, after: After = None, limit: Limit = 20) -> Page[Job]:
    """Newest first; `metadata[k]=v` asks for jobs that hold all of these, `metadata=null` for those without any."""
    wanted = metadata_filter(request)
    with reading() as session:
        rows, more = jobs.page(session, caller.project_id, after, limit, **wanted)
        at = standings.of(session, rows)
        return Page.of((Job.of(row, at[row.id]) for row in rows), more)


def metadata_filter(request: Request) -> dict[str, dict[str, str] | None]:
    if request.query_params.get("metadata") == "null":
        return {"metadata": None}
    pairs = {m[1]: value for name, value in request.query_params.items() if (m := METADATA.fullmatch(name))}
    return {"metadata": pairs} if pairs else {}


@router.get("/{job_id}")
async def get(
    job_id: str,
    services: ServicesDep,
    caller: CallerDep,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for a change.")] = 0,
    since: Annotated[int | None, Query(ge=0, lt=2**63, description="The `palate.version` that you know.")] = None,
) -> Job:
    """With `wait`: at once when the version is not `since` or the job has ended, else when either comes true."""
    this = (caller.project_id, job_id)
    look = partial(services.looks.at, this, partial(read, *this))
    if not wait:
        return await look()
    until = time.monotonic() + wait
    with services.waiters.watching(job_id, caller.project_id) as watch:
        job = await look()
        known = job.palate.version if since is None else since
        waits = True
        while watch is not None and waits and job.palate.version == known and not job.status.terminal:
            waits = await watch.change(known, until - time.monotonic())
            job = await look()
    return job


def read(project_id: str, job_id: str) -> Job:
    with reading() as session:
        row = jobs.get(session, project_id, job_id)
        return Job.of(row, standings.of(session, [row])[row.id])


@router.post("/{job_id}/cancel", responses=refuses(409))
def cancel(job_id: str, services: ServicesDep, caller: CallerDep) -> Job:
    """A running job stays `running`, phase `cancelling`, until its ranks are gone."""
    with transaction() as session:
        row = jobs.cancel(session, caller.project_id, job_id)
        shown = Job.of(row, standings.of(session, [row])[row.id])
        after_commit(session, services.bell.ring)
    return shown


@router.post("/{job_id}/pause", responses=refuses(409))
def pause(job_id: str, services: ServicesDep, caller: CallerDep) -> Job:
    """A running job stays `running`, phase `pausing`, until it has left a resume point; then its slots are free."""
    with transaction() as session:
        row = jobs.pause(session, caller.project_id, job_id)
        shown = Job.of(row, standings.of(session, [row])[row.id])
        after_commit(session, services.bell.ring)
    return shown


@router.post("/{job_id}/resume", responses=refuses(409))
def resume(job_id: str, services: ServicesDep, caller: CallerDep) -> Job:
    """Queued again; it goes on from its resume point, bit for bit as if it had not been paused."""
    with transaction() as session:
        row = jobs.resume(session, caller.project_id, job_id)
        shown = Job.of(row, standings.of(session, [row])[row.id])
        after_commit(session, services.bell.ring)
    return shown


@router.get("/{job_id}/events")
def page_of_events(
    job_id: str,
    caller: CallerDep,
    after: After = None,
    limit: Limit = 20,
    level: Annotated[Literal["info", "warn", "error"] | None, Query(description="Only events of this level.")] = None,
) -> Page[Event]:
    with reading() as session:
        jobs.get(session, caller.project_id, job_id)
        rows, more = events.page(session, job_id, after, limit, level)
        return Page.of(map(Event.of, rows), more)


@router.get("/{job_id}/checkpoints")
def page_of_checkpoints(job_id: str, caller: CallerDep, after: After = None, limit: Limit = 10) -> Page[Checkpoint]:
    with reading() as session:
        jobs.get(session, caller.project_id, job_id)
        rows, more = checkpoints.page(session, job_id, after, limit)
        return Page.of((Checkpoint.of(row, model) for row, model in rows), more)


@router.get("/{job_id}/metrics")
def columns(
    job_id: str,
    caller: CallerDep,
    name: Annotated[list[str] | None, Query(max_length=64)] = None,
    since_step: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> dict[str, list[float | None]]:
    """One column a figure, as long as `step`; null where a step has no such figure."""
    with reading() as session:
        jobs.get(session, caller.project_id, job_id)
        return metrics.columns(session, job_id, name, since_step)


@router.get("/{job_id}/logs")
def logs(job_id: str, caller: CallerDep, tail: Annotated[int, Query(ge=1, le=10_000)] = 200) -> Logs:
    """The last lines of each rank, of the newest attempt."""
    with reading() as session:
        jobs.get(session, caller.project_id, job_id)
        return Logs.of(job_id, rank_logs.of_newest_attempt(session, job_id), tail)
