"""Checkpoint: a model at a step, whose name works wherever a model's does."""

from typing import Any, Literal, Self

from api.schemas.listing import Item
from api.schemas.moment import unix
from core.db import tables


class Checkpoint(Item):
    """Its metric `palate/verified`: 1, the files loaded again are the model that was trained; 0, they are not, and are
    kept all the same; absent, nobody has looked, as of every checkpoint in the middle of a run.

    Of the finished model `palate/update_share`: of what was trained, the share that the files hold, where an adapter
    was merged or the weights are bf16; 1 but for chance (docs/bf16.md).
    """

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    step_number: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, Any]

    @classmethod
    def of(cls, row: tables.Checkpoint, model: tables.Model) -> Self:
        return cls(
            id=row.id,
            created_at=unix(row.created_at),
            step_number=row.step,
            fine_tuned_model_checkpoint=model.name,
            fine_tuning_job_id=row.job_id,
            metrics={"step": row.step, **row.metrics},
        )
