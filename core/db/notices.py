"""Hearing at once that a job changed: one connection that listens. It needs Postgres itself, not a pooler."""

from collections.abc import AsyncIterator

from psycopg import AsyncConnection, Error

from core import settings
from core.contract.errors import Unavailable
from core.db.events import CHANNEL


async def heard() -> AsyncIterator[str]:
    """The id of each job whose version rises, from now on; Unavailable when the connection breaks."""
    url = settings.parts().database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        connection = await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=3, keepalives_idle=10, keepalives_interval=5, keepalives_count=2
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            async for notice in connection.notifies():
                yield notice.payload
    except Error as error:
        raise Unavailable(f"The listening connection broke: {error}") from error
