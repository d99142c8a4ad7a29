"""/healthz: alive. /readyz: can do work."""

from fastapi import APIRouter, Response

from api.answers import refusal
from api.deps import ServicesDep
from api.schemas.health import Alive, Ready

router = APIRouter(tags=["health"])

NOT_READY = refusal(503)
NOT_READY["content"]["application/json"]["schema"] = {
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Ready", "Error")]
}


@router.get("/healthz")
async def alive() -> Alive:
    return Alive()


@router.get("/readyz", responses={503: NOT_READY})
async def ready(services: ServicesDep, response: Response) -> Ready:
    """503 without the database, its schema or the store, and while the process stops. Without the queue jobs still
    start, seconds later."""
    database, store, queue = await services.parts.seen()
    stopping = services.stopping.is_set()
    answer = Ready(database=database, store=store, queue=queue, api="stopping" if stopping else "ok")
    answer.ready = answer.database == answer.store == answer.api == "ok"
    if not answer.ready:
        response.status_code = 503
        response.headers["retry-after"] = "2"
    return answer
