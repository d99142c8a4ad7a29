"""Worker nodes: how many slots each has, and when it was last seen. Used slots are never stored."""

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.tables import Node


def seen(session: Session, name: str, slots: int, task_slots: int) -> None:
    values = {"slots": slots, "task_slots": task_slots, "seen_at": func.now()}
    session.execute(
        insert(Node).values(name=name, **values).on_conflict_do_update(index_elements=["name"], set_=values)
    )
