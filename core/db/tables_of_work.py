"""The tables of Tasks and nodes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Identity, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import NOW, Table

LIVE = text("state IN ('queued', 'running')")


class Task(Table):
    """Work without a GPU: claimed, leased and swept like an attempt. `project_id` is empty for the service's own."""

    __tablename__ = "tasks"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    project_id: Mapped[str] = mapped_column(server_default=text("''"))
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    state: Mapped[str]
    epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    losses: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    node: Mapped[str | None]
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    run_after: Mapped[datetime] = mapped_column(server_default=NOW)
    claimed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    number: Mapped[int] = mapped_column(Identity(always=True))
    __table_args__ = (
        Index(
            "uq_tasks_live",
            "kind",
            "subject",
            unique=True,
            postgresql_where=LIVE,
        ),
        Index("ix_tasks_turn", "project_id", "state", "number", postgresql_where=LIVE),
        Index("ix_tasks_claimed", "project_id", "claimed_at"),
        Index("ix_tasks_queue", "number", postgresql_where=LIVE),
    )


class Node(Table):
    __tablename__ = "nodes"
    name: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[int] = mapped_column(Integer)
    devices: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))  # one a slot
    task_slots: Mapped[int] = mapped_column(Integer)
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
