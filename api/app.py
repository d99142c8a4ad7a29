"""The app; `python -m api` serves it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, FastAPI

from api import openapi
from api.auth import Callers
from api.deps import Services, caller
from api.envelope import Envelope
from api.errors import HANDLERS
from api.looks import Looks
from api.parts import Parts
from api.places import Places
from api.rates import PREFIX, WAIT_SECONDS, Rates
from api.refusals import Refusals
from api.routes import described, files, health, jobs, models, plans, reports
from api.waiting import Waiters
from core import settings
from core.buckets import Rate, SharedBuckets
from core.db import engine
from core.objects.store import Store
from core.queue import Bell, ring

STORE_THREADS = 16


def create_app() -> FastAPI:
    """Reads no setting before it is started. `state.hosts`: those that are served, all where it is None."""
    app = FastAPI(
        title="Palate",
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        exception_handlers=HANDLERS,
        generate_unique_id_function=openapi.operation_id,
    )
    app.add_middleware(Envelope)
    app.state.hosts, app.state.refusals = None, Refusals()
    app.include_router(health.router)
    app.include_router(described.router)
    for routes in (files, reports, jobs, models, plans):
        app.include_router(routes.router, prefix="/v1", dependencies=[Depends(caller)])
    app.openapi = openapi.described(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts, api = settings.parts(), settings.api()
    engine.configure(
        engine.make_engine(
            parts.database_url.get_secret_value(),
            pool_size=api.pool_size,
            pool_timeout=api.pool_timeout,
            statement_timeout_ms=api.statement_timeout_ms,
        )
    )
    anyio.to_thread.current_default_thread_limiter().total_tokens = api.threads
    store, waiters, bell = Store.from_settings(), Waiters(api.max_waiters), Bell()
    refusals: Refusals = app.state.refusals
    rates = None
    if api.requests_per_second:
        rate = Rate(api.requests_per_second, api.requests_burst)
        rates = Rates(SharedBuckets(parts.redis_url.get_secret_value(), rate, PREFIX, WAIT_SECONDS))
    app.state.services = Services(
        settings=api,
        store=store,
        store_threads=CapacityLimiter(STORE_THREADS),
        parts=Parts(store, ring),
        callers=Callers(refusals, api.wrong_keys_per_minute),
        rates=rates,
        waiters=waiters,
        looks=Looks(),
        intakes=Places(api.intake_places, "places for uploads"),
        bell=bell,
        stopping=asyncio.Event(),
    )
    waiters.start()
    telling = asyncio.create_task(refusals.tell_each_minute())
    # What lives as long as the process is not looked through again: a full collection would hold up every request.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        telling.cancel()
        refusals.tell()
        await waiters.stop()
        if rates is not None:
            await rates.close()
        await app.state.services.callers.stop()
        bell.stop()
        store.close()
        engine.configure(None)
