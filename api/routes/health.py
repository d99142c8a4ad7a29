"""/healthz: alive. /readyz: can do work."""

import asyncio
from collections.abc import Callable

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import APIRouter, Response

from api.answers import refusal
from api.deps import ServicesDep
from api.schemas.health import Alive, Ready
from core.contract.errors import Unavailable
from core.db import migrate
from core.db.engine import engine
from core.objects.store import Store

router = APIRouter(tags=["health"])

NOT_READY = refusal(503)
NOT_READY["content"]["application/json"]["schema"] = {
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Ready", "Error")]
}

AWAY = "away"
PROBE_SECONDS = 3.0


@router.get("/healthz")
async def alive() -> Alive:
    return Alive()


@router.get("/readyz", responses={503: NOT_READY})
async def ready(services: ServicesDep, response: Response) -> Ready:
    """503 without the database, its schema or the store, and while the process stops. Without the queue jobs still
    start, seconds later."""
    probes = (database_state, store_state(services.store), queue_state(services.rings))
    database, store, queue = await asyncio.gather(*(probed(each, services.probes) for each in probes))
    stopping = services.stopping.is_set()
    answer = Ready(database=database, store=store, queue=queue, api="stopping" if stopping else "ok")
    answer.ready = answer.database == answer.store == answer.api == "ok"
    if not answer.ready:
        response.status_code = 503
        response.headers["retry-after"] = "2"
    return answer


async def probed(look: Callable[[], str], threads: CapacityLimiter) -> str:
    """What `look` says, or `away` where it says nothing in time; its thread is left to end by itself."""
    with move_on_after(PROBE_SECONDS):
        return await to_thread.run_sync(look, limiter=threads, abandon_on_cancel=True)
    return AWAY


def database_state() -> str:
    try:
        migrate.check(engine())
    except Unavailable:
        return AWAY
    except migrate.SchemaOlder as error:
        return error.message
    return "ok"


def store_state(store: Store) -> Callable[[], str]:
    return lambda: "ok" if store.has_bucket() else AWAY


def queue_state(rings: Callable[[], bool]) -> Callable[[], str]:
    return lambda: "ok" if rings() else AWAY
