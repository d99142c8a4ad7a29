"""/v1/files/{id}/report, errors and preview: what was found in a file, for machines and for people"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api import inspections
from api.accept import HTML, JSON, LINES, preferred
from api.answers import SECONDS
from api.deps import CallerDep, ServicesDep
from api.paging import After, Limit
from api.safe import PAGE_CSP
from api.schemas.file import FileError, FilePreview
from api.schemas.listing import Page
from api.schemas.report import Computing, FileReport, UncheckedReport
from core.contract.errors import BadInput
from core.db import bad_lines, files
from core.db.engine import after_commit, reading, transaction
from core.db.tables import File
from preferences.page import preview as pages
from preferences.page import waiting
from preferences.page.report import page
from preferences.report import FileError as FileFault
from preferences.report import Report

router = APIRouter(prefix="/files", tags=["files"])

AGAIN_SECONDS = 1
SAFE = {
    "content-security-policy": PAGE_CSP,
    "vary": "accept",
}
PAGE = {HTML: {"schema": {"type": "string"}}}
COMPUTING: dict[str, Any] = {
    "description": "Under way: ask again after `Retry-After` seconds.",
    "model": Computing,
    "content": PAGE,
    "headers": {"Retry-After": SECONDS},
}
# A line of it is a row of the report that was not taken.
TEXT_LINES = {LINES: {"schema": {"type": "string"}}}
Model = Annotated[str | None, Query(max_length=256, description="Adds what this model's tokenizer shows.")]
OfJob = Annotated[str | None, Query(max_length=64, description="Adds what this job's inspection and reference show.")]


@router.get(
    "/{file_id}/report",
    response_model=None,
    responses={200: {"model": FileReport | UncheckedReport, "content": PAGE}, 202: COMPUTING},
)
def report(
    file_id: str, request: Request, services: ServicesDep, caller: CallerDep, model: Model = None, job: OfJob = None
) -> Response | dict[str, Any]:
    """What the checks found, with the first 100 bad lines; `status` as the file's, and all else null until they end.
    `Accept: text/html`: a page."""
    html = preferred(request.headers.get("accept"), (JSON, HTML)) == HTML
    with transaction() as session:
        file = files.get(session, caller.project_id, file_id)
        seen = inspections.see(session, caller.project_id, file, model) if model is not None else None
        if seen and seen.inspection is None:
            after_commit(session, services.bell.ring)
            return computing("file.report", file, html=html)
        judged = inspections.of_job(session, caller.project_id, file, job) if job is not None else None
        stored = file.report
        if html:
            if stored is None and file.error_code is None:
                return computing("file.report", file, html=True)
            found = Report.model_validate(stored or {})
            if stored is None:
                found.error = FileFault(code=file.error_code or "", message=file.status_details or "")
            found.file = found.file or file.filename
    if seen or (judged and (judged.findings or judged.inspection)):
        found = Report.model_validate(stored or {})
        if judged:
            found = inspections.merged(found, judged.findings)
        if seen and seen.inspection is not None and model is not None:
            found = inspections.of_model(found, seen.inspection, model)
        elif judged and judged.inspection is not None:
            found = inspections.of_model(found, judged.inspection, judged.model)
        stored = found.model_dump(mode="json")
    if html:
        return HTMLResponse(page(found), headers=SAFE)
    told = stored or dict.fromkeys(Report.model_fields) | {"object": "file.report", "file": file.filename}
    return {**told, "file_id": file.id, "status": file.status}


def computing(kind: str, file: File, *, html: bool) -> Response:
    headers = {"retry-after": str(AGAIN_SECONDS)}
    if html:
        return HTMLResponse(waiting.page(file.filename), 202, SAFE | headers)
    told = {"object": kind, "file_id": file.id, "status": "computing", "message": waiting.MESSAGE}
    return JSONResponse(told, 202, headers)


@router.get(
    "/{file_id}/errors",
    response_model=None,
    responses={200: {"model": Page[FileError], "content": TEXT_LINES}},
)
def errors(
    file_id: str,
    request: Request,
    caller: CallerDep,
    after: After = None,
    limit: Limit = 20,
    code: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[FileError] | Response:
    """Every bad line, in the order of the file: a page of them, or with `Accept: application/x-ndjson` all."""
    if preferred(request.headers.get("accept"), (JSON, LINES)) == LINES:
        return errors_jsonl(file_id, caller)
    with reading() as session:
        files.get(session, caller.project_id, file_id)
        start = 0
        if after is not None:
            start = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else 0
            if not bad_lines.there(session, file_id, start):
                raise BadInput(f"No error {after} here; take `after` from an item of this list.", param="after")
        found, more = bad_lines.page(session, file_id, start, limit, code)
    return Page.of((FileError.of(number, each) for number, each in found), more)


@router.get("/{file_id}/errors.jsonl", response_class=Response, responses={200: {"content": TEXT_LINES}})
def errors_jsonl(file_id: str, caller: CallerDep) -> Response:
    """Every bad line, at most 10,000, one a line, to download."""
    with reading() as session:
        files.get(session, caller.project_id, file_id)
        lines = "".join(f"{line}\n" for line in bad_lines.lines(session, file_id))
    disposition = f'attachment; filename="{file_id}.errors.jsonl"'
    return Response(lines, media_type=LINES, headers={"content-disposition": disposition})


@router.get(
    "/{file_id}/preview", response_model=None, responses={200: {"model": FilePreview, "content": PAGE}, 202: COMPUTING}
)
def preview(
    file_id: str,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    model: Annotated[str, Query(max_length=256)],
    limit: Annotated[int, Query(ge=1, le=20)] = 10,
) -> Response | FilePreview:
    """Records as this model's trainer will see them, token by token. `Accept: text/html`: a page."""
    html = preferred(request.headers.get("accept"), (JSON, HTML)) == HTML
    with transaction() as session:
        file = files.get(session, caller.project_id, file_id)
        seen = inspections.see(session, caller.project_id, file, model)
        if seen.inspection is None:
            after_commit(session, services.bell.ring)
            return computing("file.preview", file, html=html)
    found, previews = seen.inspection, seen.inspection.previews[:limit]
    error = FileFault(code=found.fatal.code, message=found.fatal.message) if found.fatal else None
    if html:
        return HTMLResponse(pages.page(file.filename, model, found.max_length, previews, error), headers=SAFE)
    return FilePreview(
        file_id=file.id,
        model=model,
        loss=seen.loss,
        max_length=found.max_length,
        data=previews,
        has_more=len(found.previews) > limit,
        error=error,
    )
