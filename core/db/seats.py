"""Seats: which devices of its node an attempt holds. Devices in use are those of open seats, whatever became of the
attempts; a seat ends when nothing of it lives on them any more.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Node, Seat, SeatDevice

# Attempt, seat and devices in one statement; the node's row is locked by one before it.
OPEN = text("""
WITH attempt AS (
    INSERT INTO attempts (job_id, epoch, node, owner, slots, lease_until)
    VALUES (:job_id, :epoch, :node, :owner, cardinality(CAST(:devices AS text[])),
        now() + make_interval(secs => :lease_seconds))
), seat AS (
    INSERT INTO seats (job_id, epoch, node_rank, node, devices) VALUES (:job_id, :epoch, 0, :node, :devices)
)
INSERT INTO seat_devices (node, device, job_id, epoch, node_rank)
SELECT :node, unnest(CAST(:devices AS text[])), :job_id, :epoch, 0
""")
END = text("""
WITH freed AS (DELETE FROM seat_devices WHERE job_id = :job_id AND epoch = :epoch)
UPDATE seats SET ended_at = now() WHERE job_id = :job_id AND epoch = :epoch AND ended_at IS NULL
""")
# A device that failed so many runs within an hour is given to none until that hour is over.
FAULTS, FAULT_HOURS = 2, 1
FAULTY = f"""
SELECT node, failed_device AS device FROM seats
WHERE failed_device IS NOT NULL AND failed_at > now() - interval '{FAULT_HOURS} hours'
GROUP BY node, failed_device HAVING count(*) >= {FAULTS}
"""
# CPU nodes name their slots so.
CPU = "cpu"


def cpus(slots: int) -> list[str]:
    return [f"{CPU}{number}" for number in range(slots)]


def end(session: Session, job_id: str, epoch: int) -> None:
    """Its devices are free again. Only for who knows that nothing lives on them."""
    session.execute(END, {"job_id": job_id, "epoch": epoch})


def devices(session: Session, job_id: str, epoch: int) -> list[str]:
    """In the order of the ranks."""
    held = select(Seat.devices).where(Seat.job_id == job_id, Seat.epoch == epoch, Seat.node_rank == 0)
    return session.scalars(held).one()


def left_on(session: Session, node: str) -> Sequence[tuple[str, int]]:
    """Open seats of the node whose attempts have ended: (job id, epoch)."""
    closed = exists().where(Attempt.job_id == Seat.job_id, Attempt.epoch == Seat.epoch, Attempt.ended_at.is_not(None))
    left = select(Seat.job_id, Seat.epoch).where(Seat.node == node, Seat.ended_at.is_(None), closed)
    return [(job_id, epoch) for job_id, epoch in session.execute(left)]


def failed(session: Session, job_id: str, epoch: int, device: str) -> None:
    """The device failed this attempt."""
    values = {"failed_device": device, "failed_at": func.now()}
    session.execute(update(Seat).where(Seat.job_id == job_id, Seat.epoch == epoch).values(values))


def faulty(session: Session) -> set[tuple[str, str]]:
    """(node, device) of those that are given to nobody now."""
    return {(node, device) for node, device in session.execute(text(FAULTY))}


def end_silent(session: Session, seconds: float) -> None:
    """Seats of ended attempts on nodes that were not heard of for so long: what ran there has fenced itself, or died
    with the node."""
    closed = exists().where(Attempt.job_id == Seat.job_id, Attempt.epoch == Seat.epoch, Attempt.ended_at.is_not(None))
    heard = exists().where(Node.name == Seat.node, Node.seen_at >= func.now() - timedelta(seconds=seconds))
    left = select(Seat.job_id, Seat.epoch).where(Seat.ended_at.is_(None), closed, ~heard)
    for job_id, epoch in session.execute(left).all():
        end(session, job_id, epoch)


def used(session: Session) -> dict[str, int]:
    """How many devices are in use, of each node that has any."""
    held = select(SeatDevice.node, func.count()).group_by(SeatDevice.node)
    return {name: int(count) for name, count in session.execute(held)}


def held(session: Session) -> Sequence[tuple[Seat, bool]]:
    """Open seats, the oldest first, and whether the attempt of each is open."""
    both = select(Seat, Attempt.ended_at.is_(None)).join(
        Attempt, (Attempt.job_id == Seat.job_id) & (Attempt.epoch == Seat.epoch)
    )
    found = session.execute(both.where(Seat.ended_at.is_(None)).order_by(Seat.opened_at, Seat.job_id))
    return [(seat, running) for seat, running in found]
