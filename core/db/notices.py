"""Hearing at once that a job changed: one connection that listens. It needs Postgres itself, not a pooler."""

import asyncio
from collections.abc import AsyncIterator

from psycopg import AsyncConnection, Error

from core import settings
from core.contract.errors import Unavailable
from core.db import connection
from core.db.events import CHANNEL

LISTEN_TIMEOUT_MS = 5_000


async def heard() -> AsyncIterator[str]:
    """The id of each job whose version rises, from now on; Unavailable when the connection breaks."""
    url = settings.parts().database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        listener = await AsyncConnection.connect(url, autocommit=True, **connection.arguments(LISTEN_TIMEOUT_MS))
        async with listener:
            async with asyncio.timeout(LISTEN_TIMEOUT_MS / 1_000 + connection.ANSWER_SECONDS):
                await listener.execute(f"LISTEN {CHANNEL}".encode())
            async for notice in listener.notifies():
                yield notice.payload
    except (Error, TimeoutError) as error:
        raise Unavailable(f"The listening connection broke: {error}") from error
