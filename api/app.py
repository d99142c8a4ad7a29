"""The app; `python -m api` serves it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI

from api import openapi
from api.auth import Callers
from api.deps import Services
from api.envelope import Envelope
from api.errors import HANDLERS
from api.looks import Looks
from api.places import Places
from api.routes import files, health, jobs, models, plans, reports
from api.waiting import Waiters
from core import settings
from core.db import engine
from core.objects.store import Store
from core.queue import Bell, ring

STORE_THREADS = 16
PROBES = 6


def create_app() -> FastAPI:
    """Reads no setting before it is started."""
    app = FastAPI(
        title="Palate",
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        exception_handlers=HANDLERS,
        generate_unique_id_function=openapi.operation_id,
    )
    app.add_middleware(Envelope)
    app.include_router(health.router)
    for routes in (files, reports, jobs, models, plans):
        app.include_router(routes.router, prefix="/v1")
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
    app.state.services = Services(
        settings=api,
        store=store,
        store_threads=CapacityLimiter(STORE_THREADS),
        probes=CapacityLimiter(PROBES),
        callers=Callers(),
        waiters=waiters,
        looks=Looks(),
        intakes=Places(api.intake_places, "places for uploads"),
        bell=bell,
        rings=ring,
        stopping=asyncio.Event(),
    )
    waiters.start()
    # What lives as long as the process is not looked through again: a full collection would hold up every request.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        await waiters.stop()
        await app.state.services.callers.stop()
        bell.stop()
        store.close()
        engine.configure(None)
