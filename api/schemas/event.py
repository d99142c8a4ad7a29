"""Event of a job."""

from typing import Any, Literal, Self

from api.schemas.listing import Item
from api.schemas.moment import unix
from core.db import tables


class Event(Item):
    """`data` of type metrics: step, total_steps, train_loss, rewards/chosen, …"""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any] | None

    @classmethod
    def of(cls, row: tables.Event) -> Self:
        return cls(
            id=row.id,
            created_at=unix(row.created_at),
            level=row.level,
            message=row.message,
            type=row.type,
            data=row.data,
        )
