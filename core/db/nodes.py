"""Worker nodes: which devices each has, what it is, and when it was last seen. What is in use, seats say."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ScalarSelect, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.contract.errors import NotFound
from core.db import seats
from core.db.tables import Node

RATES = 32
KNOWN_HOURS = 24
HEARD_SECONDS = 30.0


def seen(
    session: Session,
    name: str,
    slots: int,
    task_slots: int,
    facts: dict[str, Any] | None = None,
    devices: Sequence[str] | None = None,
) -> None:
    """`facts` replace those of the same name; what was measured (`rates`) stays. `devices`: one a slot; None: CPUs."""
    named = list(devices) if devices is not None else seats.cpus(slots)
    values = {"slots": slots, "devices": named, "task_slots": task_slots, "seen_at": func.now()}
    statement = insert(Node).values(name=name, facts=facts or {}, **values)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={**values, "facts": Node.facts.op("||")(statement.excluded.facts)}
        )
    )


def add_rate(session: Session, name: str, rate: dict[str, Any]) -> None:
    """What a job's steps took here; the newest are kept."""
    node = session.scalar(select(Node).where(Node.name == name).with_for_update())
    if node is not None:
        rates = [*node.facts.get("rates", []), rate][-RATES:]
        session.execute(update(Node).where(Node.name == name).values(facts={**node.facts, "rates": rates}))


def drain(session: Session, name: str, *, on: bool = True) -> None:
    """From now on it claims nothing, and what it holds hands over at its next step. Raises NotFound."""
    found = session.execute(update(Node).where(Node.name == name).values(draining=on).returning(Node.name)).first()
    if found is None:
        names = ", ".join(session.scalars(select(Node.name).order_by(Node.name))) or "none"
        raise NotFound(f"No node {name!r}; known: {names}.", code="node_not_found", param="node")


def others(session: Session, name: str) -> bool:
    """Whether another node that takes work was heard of a moment ago."""
    heard = Node.seen_at > func.now() - timedelta(seconds=HEARD_SECONDS)
    return bool(session.scalar(select(exists().where(Node.name != name, ~Node.draining, heard))))


def largest(session: Session) -> int:
    return int(session.scalar(select(largest_slots())) or 0)


@cache
def largest_slots() -> ScalarSelect[int]:
    """Slots of the largest node that was seen within a day; 0 where there is none."""
    recent = Node.seen_at > func.now() - timedelta(hours=KNOWN_HOURS)
    return select(func.coalesce(func.max(Node.slots), 0)).where(recent).scalar_subquery()


def known(session: Session) -> Sequence[Node]:
    """Seen within a day, the largest first."""
    return session.scalars(
        select(Node)
        .where(Node.seen_at > func.now() - timedelta(hours=KNOWN_HOURS))
        .order_by(Node.slots.desc(), Node.name)
    ).all()
