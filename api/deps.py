"""What routes are given: the services of this process, who asks, and the body."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.addresses import party
from api.auth import Callers
from api.body import JsonBody, read_json
from api.looks import Looks
from api.parts import Parts
from api.places import Places
from api.rates import Rates, refusal
from api.schemas.job import Job
from api.waiting import Waiters
from core.db.keys import Caller
from core.objects.store import Store
from core.settings import ApiSettings

if TYPE_CHECKING:  # core.queue reads the settings when it is imported; an app that is only described has none
    from core.queue import Bell


@dataclass(frozen=True)
class Services:
    """Made once a process, in the app's lifespan. `store_threads` bounds the threads that wait for the store;
    `rates` is None where requests are not limited; `stopping` is set when no more requests shall come."""

    settings: ApiSettings
    store: Store
    store_threads: CapacityLimiter
    parts: Parts
    callers: Callers
    rates: Rates | None
    waiters: Waiters
    looks: Looks[Job]
    intakes: Places
    bell: "Bell"
    stopping: asyncio.Event


async def services(request: Request) -> Services:
    """Async, as every dependency: a plain one costs a thread."""
    found: Services = request.app.state.services
    return found


bearer = HTTPBearer(auto_error=False, description="An API key, `plt_<id>_<secret>`.")
ServicesDep = Annotated[Services, Depends(services)]


async def caller(
    request: Request, services: ServicesDep, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Of every route under /v1 the first dependency (api/app.py): nothing else is looked at before the key. Raises
    Unauthenticated, or RateLimited for a key that asks too often; where it stands is told by the envelope."""
    address = party(request.client.host if request.client else "")
    found = await services.callers.of(sent.credentials.strip() if sent else None, address)
    if services.rates is not None:
        request.state.standing = standing = await services.rates.ask(found.key_id)
        if standing.again_in:
            raise refusal(standing, services.rates.rate)
    return found


async def json_body(request: Request, services: ServicesDep) -> JsonBody:
    settings = services.settings
    return await read_json(request, limit=settings.max_json_bytes, idle_seconds=settings.intake_idle_seconds)


CallerDep = Annotated[Caller, Depends(caller)]
JsonBodyDep = Annotated[JsonBody, Depends(json_body)]
