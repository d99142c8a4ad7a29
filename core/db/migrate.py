"""`palate migrate`: the schema to its newest revision, one migrator at a time."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from core.contract.errors import PalateError, Unavailable
from core.db import connection as connections
from core.db.engine import unavailable_as_such

FOLDER = Path(__file__).resolve().parents[2] / "migrations"
LOCK = 0x70616C617465  # "palate"
LOCK_SECONDS = 5


class SchemaOlder(PalateError):
    """The database is not migrated yet to what this version needs."""

    code = "schema_older"


def config(connection: Connection | None = None) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def upgrade(url: str) -> None:
    """Upgrades under an advisory lock; gives up on any lock after 5 s rather than hold up the service.

    Raises Unavailable, and has changed nothing then.
    """
    engine = create_engine(url, connect_args=connections.arguments(statement_timeout_ms=0))
    try:
        with unavailable_as_such(), engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            command.upgrade(config(connection), "head")
    except Unavailable as error:
        if isinstance(error.__cause__, OperationalError) and isinstance(error.__cause__.orig, LockNotAvailable):
            raise Unavailable(
                f"A lock was not free within {LOCK_SECONDS} seconds (another `palate migrate`, or a long transaction); "
                "nothing was changed. Run it again.",
                code="schema_locked",
            ) from error
        raise
    finally:
        engine.dispose()


@cache
def head() -> str | None:
    return ScriptDirectory.from_config(config()).get_current_head()


def current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check(engine: Engine) -> None:
    """Raises SchemaOlder, or Unavailable. A newer schema allows this version: expand first, contract later."""
    with unavailable_as_such():
        found = current(engine)
    needed = head() or ""
    if found is None or found < needed:
        raise SchemaOlder(
            f"The database's schema is older than this service (revision {found or 'none'}, {needed} is needed): "
            "run `palate migrate`."
        )
