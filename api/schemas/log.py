"""What the ranks of a run wrote."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel

from api.schemas.moment import unix
from core.db import tables


class RankLog(BaseModel):
    rank: int
    attempt: int
    updated_at: int
    lines: list[str]


class Logs(BaseModel):
    object: Literal["fine_tuning.job.logs"] = "fine_tuning.job.logs"
    fine_tuning_job_id: str
    data: list[RankLog]

    @classmethod
    def of(cls, job_id: str, rows: Sequence[tables.RankLog], tail: int) -> Self:
        data = [
            RankLog(
                rank=row.rank,
                attempt=row.epoch,
                updated_at=unix(row.updated_at),
                lines=row.tail.splitlines()[-tail:],
            )
            for row in rows
        ]
        return cls(fine_tuning_job_id=job_id, data=data)
