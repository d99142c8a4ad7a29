"""The one door to Postgres: an engine a process, transactions, and what happens after a commit."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, Executable, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session as Session  # the one name of SQLAlchemy that other rooms use

from core import settings
from core.contract import failpoints
from core.contract.errors import Unavailable
from core.db import connection

_lock = threading.Lock()
_engine: Engine | None = None


def make_engine(
    url: str, *, pool_size: int = 5, pool_timeout: float = 5.0, statement_timeout_ms: int = 30_000
) -> Engine:
    """An engine whose every wait is bounded (connect 3 s, statement, lock 2 s, idle transaction 30 s)."""
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_pre_ping=True,
        connect_args=connection.arguments(statement_timeout_ms),
    )
    return connection.bound(made, statement_timeout_ms)


def configure(engine: Engine | None) -> None:
    """Sets the process's engine; None closes it, and the next transaction makes one from the settings."""
    global _engine
    with _lock:
        if _engine is not None:
            _engine.dispose()
        _engine = engine


def engine() -> Engine:
    global _engine
    with _lock:
        if _engine is None:
            _engine = make_engine(settings.parts().database_url.get_secret_value())
        return _engine


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """`act` runs once this session's transaction has committed, never when it has not."""
    session.info.setdefault("after_commit", []).append(act)


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction: commits at the end, rolls back on any exception, then runs what waits for the commit.

    Raises Unavailable when Postgres is away, too slow, or all its connections are taken.
    """
    with unavailable_as_such(), Session(engine(), expire_on_commit=False) as session:
        yield session
        # Above this one: contextlib, and then who wrote the block.
        block = failpoints.caller(2)
        written = block is not None and _has_written(session)
        if written:
            failpoints.passed(block, "committing")
        session.commit()
        if written:
            failpoints.passed(block, "committed")
    for act in session.info.get("after_commit", []):
        act()


def at_once(statement: Executable, values: Mapping[str, Any]) -> None:
    """One statement outside of any transaction. Raises Unavailable."""
    with unavailable_as_such(), engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(statement, values)


@contextmanager
def reading() -> Iterator[Session]:
    """For questions: each statement by itself, without the two more that a transaction costs. Nothing is written.

    Raises Unavailable as `transaction` does.
    """
    alone = engine().execution_options(isolation_level="AUTOCOMMIT")
    with unavailable_as_such(), Session(alone, expire_on_commit=False) as session:
        yield session


def _has_written(session: Session) -> bool:
    """Or locked a row: Postgres has given the transaction a number."""
    session.flush()
    return session.scalar(text("SELECT pg_current_xact_id_if_assigned()::text")) is not None


@contextmanager
def unavailable_as_such() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("All database connections are in use; try again shortly.") from error
    except (OperationalError, InterfaceError) as error:
        raise Unavailable("The database does not answer; try again shortly.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("The database connection broke; try again shortly.") from error
        raise
