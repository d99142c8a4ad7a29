"""Figures by step: written once a step and split, written again the same when a step is run again after a resume."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.tables import Metric


def record(session: Session, job_id: str, rows: Sequence[tuple[int, str, Mapping[str, float]]]) -> None:
    """`rows` are (step, split, figures); a later row of the same step and split wins."""
    latest = {(step, split): dict(figures) for step, split, figures in rows}
    if not latest:
        return
    statement = insert(Metric).values(
        [{"job_id": job_id, "step": s, "split": p, "figures": f} for (s, p), f in latest.items()]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id", "step", "split"], set_={"figures": statement.excluded.figures}
        )
    )


def columns(
    session: Session, job_id: str, names: Collection[str] | None = None, since_step: int = 0
) -> dict[str, list[Any]]:
    """`{step: [...], train_loss: [...], ...}`, a null where a step has no such figure. Steps above `since_step`.

    Held-out figures stand at their step, in the same columns' length; `since_step` 0 includes step 0.
    """
    query = select(Metric).where(Metric.job_id == job_id).order_by(Metric.step)
    if since_step:
        query = query.where(Metric.step > since_step)
    by_step: dict[int, dict[str, Any]] = {}
    for row in session.scalars(query):
        by_step.setdefault(row.step, {}).update(row.figures)
    known = sorted({name for figures in by_step.values() for name in figures} - {"step"})
    chosen = [name for name in known if names is None or name in names]
    return {
        "step": list(by_step),
        **{name: [figures.get(name) for figures in by_step.values()] for name in chosen},
    }
