"""What routes are given: the services of this process, who asks, and the body."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.auth import Callers
from api.body import JsonBody, read_json
from api.looks import Looks
from api.places import Places
from api.schemas.job import Job
from api.waiting import Waiters
from core.contract.errors import Unauthenticated
from core.db.keys import Caller
from core.objects.store import Store
from core.settings import ApiSettings

if TYPE_CHECKING:  # core.queue reads the settings when it is imported; an app that is only described has none
    from core.queue import Bell


@dataclass(frozen=True)
class Services:
    """Made once a process, in the app's lifespan. `store_threads` bounds the threads that wait for the store,
    `probes` those of /readyz, which must not wait behind them;
    `rings` sends one message at once and says whether the queue took it; `stopping` is set when no more requests shall
    come."""

    settings: ApiSettings
    store: Store
    store_threads: CapacityLimiter
    probes: CapacityLimiter
    callers: Callers
    waiters: Waiters
    looks: Looks[Job]
    intakes: Places
    bell: "Bell"
    rings: Callable[[], bool]
    stopping: asyncio.Event


async def services(request: Request) -> Services:
    """Async, as every dependency: a plain one costs a thread."""
    found: Services = request.app.state.services
    return found


bearer = HTTPBearer(auto_error=False, description="An API key, `plt_<id>_<secret>`.")
ServicesDep = Annotated[Services, Depends(services)]


async def caller(
    services: ServicesDep, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    if sent is None:
        raise Unauthenticated(
            "No API key was sent; send the header `Authorization: Bearer plt_…`.", code="missing_api_key"
        )
    return await services.callers.of(sent.credentials.strip())


async def json_body(request: Request, services: ServicesDep) -> JsonBody:
    settings = services.settings
    return await read_json(request, limit=settings.max_json_bytes, idle_seconds=settings.intake_idle_seconds)


CallerDep = Annotated[Caller, Depends(caller)]
JsonBodyDep = Annotated[JsonBody, Depends(json_body)]
