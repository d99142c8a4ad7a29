"""/healthz: alive. /readyz: can do work."""

from anyio import to_thread
from fastapi import APIRouter, Response

from api.deps import ServicesDep
from api.schemas.health import Alive, Ready
from core.contract.errors import Unavailable
from core.db import migrate
from core.db.engine import engine, unavailable_as_such

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> Alive:
    return Alive()


@router.get("/readyz")
async def ready(services: ServicesDep, response: Response) -> Ready:
    """503 without the database, its schema or the store. Without the queue jobs still start, seconds later."""
    database = await to_thread.run_sync(database_state)
    store = await to_thread.run_sync(services.store.has_bucket, limiter=services.store_threads)
    bell = await to_thread.run_sync(services.rings, limiter=services.store_threads)
    answer = Ready(database=database, store="ok" if store else "away", queue="ok" if bell else "away")
    answer.ready = answer.database == answer.store == "ok"
    if not answer.ready:
        response.status_code = 503
        response.headers["retry-after"] = "2"
    return answer


def database_state() -> str:
    """Revisions are numbered: an older one is refused, a newer one allows this version (expand, then contract)."""
    try:
        with unavailable_as_such():
            found = migrate.current(engine())
    except Unavailable:
        return "away"
    if found is None or found < (migrate.head() or ""):
        return "schema is older than this service: run `palate migrate`"
    return "ok"
