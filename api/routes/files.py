"""/v1/files"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from api import intake
from api.answers import DOWNLOAD, refuses
from api.deps import CallerDep, ServicesDep
from api.downloads import Object, send
from api.paging import After
from api.schemas.file import File
from api.schemas.listing import Deleted, Page
from api.wishes import FORM_SCHEMA
from core.db import files
from core.db.engine import after_commit, reading, transaction

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


@router.delete("/{file_id}", responses=refuses(409))
def delete(file_id: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """409 `in_use` while an unfinished job needs it."""
    with transaction() as session:
        files.delete(session, caller.project_id, file_id)
        after_commit(session, services.bell.ring)
    return Deleted(id=file_id, object="file")


@router.get("/{file_id}/content", response_class=Response, responses=DOWNLOAD)
async def content(file_id: str, request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """The bytes as they were sent, or a redirect to them."""
    return await send(request, services, await run_in_threadpool(_object, caller.project_id, file_id))


def _object(project_id: str, file_id: str) -> Object:
    with reading() as session:
        file = files.get(session, project_id, file_id)
        return Object(file.object_key, file.filename, file.bytes, file.sha256)
