"""Whose turn it is: the project that runs least, then age; inside a project priority, then age. One statement, as quick
in a long queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ScalarSelect, SQLColumnExpression, func, select, text
from sqlalchemy.orm import Session, aliased

from core.contract.states import JobState
from core.db import seats
from core.db.tables import Job

# `ready` twice: of each project its first job, unlocked; then, of the projects in turn, the first job that nobody has
# locked. MATERIALIZED, or Postgres might lock a job of every project and put them in order then.
READY = """j.state = 'queued' AND j.desired = 'run' AND j.run_after <= now() AND j.ranks <= (SELECT slots FROM room)
        AND (j.ranks <= (SELECT free FROM room) OR j.run_after < now() - make_interval(secs => :head_seconds))"""
FOLLOWING = text(f"""
WITH room AS MATERIALIZED (
    SELECT count(*) AS slots, count(*) FILTER (WHERE free) AS free,
        coalesce(array_agg(device ORDER BY place) FILTER (WHERE free), '{{}}') AS devices
    FROM (
        SELECT each.device, each.place, NOT EXISTS (
            SELECT 1 FROM seat_devices s WHERE s.node = n.name AND s.device = each.device) AS free
        FROM nodes n CROSS JOIN unnest(n.devices) WITH ORDINALITY each (device, place)
        WHERE n.name = :node AND (n.name, each.device) NOT IN ({seats.FAULTY})
    ) fit
), in_turn AS MATERIALIZED (
    SELECT p.id, p.max_running, first.priority, running.jobs
    FROM projects p
    CROSS JOIN LATERAL (
        SELECT j.priority, j.created_at, j.id FROM jobs j
        WHERE j.project_id = p.id AND {READY}
        ORDER BY j.priority DESC, j.created_at, j.id LIMIT 1
    ) first
    CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM jobs j WHERE j.project_id = p.id AND j.state = 'running') running
    WHERE (p.max_running IS NULL OR running.jobs < p.max_running)
        AND p.id <> ALL (CAST(:passed AS text[]))
    ORDER BY running.jobs, first.created_at, first.id
)
SELECT job.id, job.project_id, job.epoch, job.ranks, (SELECT devices FROM room), in_turn.max_running IS NOT NULL
FROM in_turn
CROSS JOIN LATERAL (
    SELECT j.id, j.project_id, j.epoch, j.ranks FROM jobs j
    WHERE j.project_id = in_turn.id AND j.priority = in_turn.priority AND {READY}
    ORDER BY j.created_at, j.id LIMIT 1
    FOR UPDATE SKIP LOCKED
) job
LIMIT 1
""")


@dataclass(frozen=True)
class Turn:
    """A queued job, locked to the end of the transaction; `free` are the node's devices before it takes any.

    limited: its project may run only so many; they are to be counted again under the project's lock.
    """

    job_id: str
    project_id: str
    epoch: int
    ranks: int
    free: list[str]
    limited: bool


def following(session: Session, *, node: str, head_seconds: float, passed: Sequence[str] = ()) -> Turn | None:
    """The node's row is locked by the caller. `passed`: projects that are full after all.

    A job that is larger than what is free comes only when it has waited so long that it is the head.
    """
    values = {"node": node, "head_seconds": head_seconds, "passed": list(passed)}
    found = session.execute(FOLLOWING, values).first()
    return Turn(*found) if found is not None else None


def running_in(project_id: SQLColumnExpression[str]) -> ScalarSelect[int]:
    """How many jobs of the project run: those with an open attempt, and no others."""
    other = aliased(Job)
    return (
        select(func.count())
        .select_from(other)
        .where(other.project_id == project_id, other.state == JobState.RUNNING)
        .correlate_except(other)
        .scalar_subquery()
    )
