"""/v1/files"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from api import intake
from api.deps import CallerDep, ServicesDep
from api.downloads import Object, send
from api.paging import After, Limit
from api.schemas.file import File, FileError
from api.schemas.listing import Deleted, Page
from api.wishes import FORM_SCHEMA
from core.contract.errors import BadInput
from core.db import files
from core.db.engine import after_commit, reading, transaction
from preferences.report import Report

router = APIRouter(prefix="/files", tags=["files"])


@router.post("", openapi_extra={"requestBody": FORM_SCHEMA})
async def create(request: Request, services: ServicesDep, caller: CallerDep) -> File:
    """Uploads a file of preference data; its checks begin at once."""
    return File.of(await intake.take(request, services, caller))


@router.get("")
def page(
    caller: CallerDep,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> Page[File]:
    with reading() as session:
        rows, more = files.page(session, caller.project_id, after, limit, purpose=purpose, order=order)
        return Page.of(map(File.of, rows), more)


@router.get("/{file_id}")
def get(file_id: str, caller: CallerDep) -> File:
    with reading() as session:
        return File.of(files.get(session, caller.project_id, file_id))


@router.delete("/{file_id}")
def delete(file_id: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """409 `in_use` while an unfinished job needs it."""
    with transaction() as session:
        files.delete(session, caller.project_id, file_id)
        after_commit(session, services.bell.ring)
    return Deleted(id=file_id, object="file")


@router.get("/{file_id}/content", response_class=Response)
async def content(file_id: str, request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """The bytes as they were sent, or a redirect to them."""
    return await send(request, services, await run_in_threadpool(_object, caller.project_id, file_id))


def _object(project_id: str, file_id: str) -> Object:
    with reading() as session:
        file = files.get(session, project_id, file_id)
        return Object(file.object_key, file.filename, file.bytes, file.sha256)


@router.get("/{file_id}/report")
def report_of(file_id: str, caller: CallerDep) -> dict[str, Any]:
    """What the checks found; `status` as the file's, and all else null until they end."""
    with reading() as session:
        file = files.get(session, caller.project_id, file_id)
        report = file.report
    found = report or dict.fromkeys(Report.model_fields) | {"object": "file.report", "file": file.filename}
    return {**found, "file_id": file.id, "status": file.status}


@router.get("/{file_id}/errors")
def errors(
    file_id: str,
    caller: CallerDep,
    after: After = None,
    limit: Limit = 20,
    code: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[FileError]:
    """Every bad line, in the order of the file."""
    with reading() as session:
        found = (files.get(session, caller.project_id, file_id).report or {}).get("errors", [])
    start = 0
    if after is not None:
        if not (after.isascii() and after.isdigit() and len(after) < 10 and 1 <= int(after) <= len(found)):
            raise BadInput(f"No error {after} here; take `after` from an item of this list.", param="after")
        start = int(after)
    rest = [(n, each) for n, each in enumerate(found, 1) if n > start and code in (None, each["code"])]
    return Page.of((FileError.of(n, each) for n, each in rest[:limit]), len(rest) > limit)
