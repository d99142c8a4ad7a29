"""/v1/models: names hold slashes and colons, sent raw or percent-encoded."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from api.answers import DOWNLOAD, refuses
from api.deps import CallerDep, ServicesDep
from api.downloads import Object, send
from api.schemas.listing import Deleted, Page
from api.schemas.model import Model, ModelFiles
from core.contract.errors import NotFound
from core.contract.manifest import Manifest
from core.db import models
from core.db.engine import after_commit, reading, transaction

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
def page(caller: CallerDep) -> Page[Model]:
    """Base models, and the models and checkpoints that jobs made; the newest first."""
    with reading() as session:
        return Page.of(map(Model.of, models.page(session, caller.project_id)), False)


@router.get("/{model:path}/files")
def manifest(model: str, caller: CallerDep) -> ModelFiles:
    with reading() as session:
        return ModelFiles.of(models.by_name(session, caller.project_id, model))


@router.get("/{model:path}/files/{path:path}", response_class=Response, responses=DOWNLOAD)
async def file(model: str, path: str, request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """The bytes of one file of a model, or a redirect to them; `Range` is honoured either way."""
    return await send(request, services, await run_in_threadpool(_object, caller.project_id, model, path))


def _object(project_id: str, name: str, path: str) -> Object:
    with reading() as session:
        row = models.by_name(session, project_id, name)
    for entry in Manifest.model_validate(row.manifest).files:
        if entry.path == path:
            return Object(row.prefix + path, path.rpartition("/")[2], entry.bytes, entry.sha256)
    raise NotFound(f"Model {name!r} has no file {path!r}.", code="model_file_not_found", param="path")


@router.get("/{model:path}")
def get(model: str, caller: CallerDep) -> Model:
    with reading() as session:
        return Model.of(models.by_name(session, caller.project_id, model))


@router.delete("/{model:path}", responses=refuses(409))
def delete(model: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """A model that a job made. 409 `in_use` while an unfinished job trains from it."""
    with transaction() as session:
        models.delete(session, caller.project_id, model)
        after_commit(session, services.bell.ring)
    return Deleted(id=model, object="model")
