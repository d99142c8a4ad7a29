"""A connection to Postgres on which nothing waits for ever: a server that hangs, or a network that swallows, is away.

The limits in `options` are kept by the server, those of TCP by the kernel for a peer that does not even acknowledge;
what is left, a peer that acknowledges and never answers, only the client can give up on.
"""

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, event

CONNECT_SECONDS = 3
LOCK_TIMEOUT_MS = 2_000
IDLE_IN_TRANSACTION_MS = 30_000
# On top of what the statement itself may take.
ANSWER_SECONDS = 2.0
TCP = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}


class Bounded(psycopg.Connection[Any]):
    """`answer_seconds`: how long it waits for the server's answer to one statement; then it is closed."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.answer_seconds:g} seconds") from error


def arguments(statement_timeout_ms: int) -> dict[str, Any]:
    """What every connection is made with."""
    limits = {
        "statement_timeout": statement_timeout_ms,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
    }
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return {"connect_timeout": CONNECT_SECONDS, "options": options, **TCP}


def bound(engine: Engine, statement_timeout_ms: int) -> Engine:
    """The engine, its connections of this kind."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Bounded:
        made = Bounded.connect(*args, **named)
        made.answer_seconds = statement_timeout_ms / 1_000 + ANSWER_SECONDS
        return made

    return engine
