"""Seats: an attempt holds devices of its own until nothing lives on them, whatever became of the attempt."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from core.contract.states import JobState, Outcome
from core.db import attempts, invariants, nodes, seats
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.tables import Attempt, Job, Node, Seat, SeatDevice
from tests.rows import make_job

GPUS = ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
STOPPED = Ending(Outcome.PREEMPTED)
LOST = Ending(Outcome.FAILED, error={"code": "gpu_error", "message": "ECC", "param": None})


@pytest.fixture(autouse=True)
def node(service: dict[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 4, 1, devices=GPUS)


def queued(session: Session, ranks: int = 1) -> Job:
    return make_job(session, state=JobState.QUEUED, ranks=ranks, created_at=func.clock_timestamp())


def take(session: Session, node: str = "n1") -> Lease | None:
    return attempts.claim(session, node=node, owner="o", lease_seconds=60)


def took(session: Session, ranks: int = 1) -> tuple[Lease, list[str]]:
    queued(session, ranks)
    lease = take(session)
    assert lease is not None
    return lease, seats.devices(session, lease.job_id, lease.epoch)


def sound(session: Session) -> bool:
    return not invariants.breaches(session)


def test_two_jobs_of_two_devices_are_disjoint() -> None:
    with transaction() as session:
        (_, one), (_, other) = took(session, 2), took(session, 2)
        assert (one, other) == (GPUS[:2], GPUS[2:])
        assert seats.used(session) == {"n1": 4}
        queued(session)
        assert take(session) is None
        assert sound(session)


def test_a_freed_device_is_given_again_and_no_other() -> None:
    with transaction() as session:
        held = [took(session) for _ in range(4)]
        attempts.close(session, held[1][0], STOPPED)
        again = take(session)
        assert again is not None
        assert seats.devices(session, again.job_id, again.epoch) == ["GPU-1"]
        assert sound(session)


def test_a_seat_outlives_its_attempt_until_its_node_ends_it() -> None:
    with transaction() as session:
        lease, _ = took(session, 4)
        attempts.hold(session, lease, -60)
        attempts.take_over(session, lease, STOPPED, 0)
        assert session.get_one(Job, lease.job_id).state == JobState.QUEUED, "the job goes back at once"
        assert take(session) is None
        assert seats.left_on(session, "n1") == [(lease.job_id, 1)]
        assert [(seat.epoch, running) for seat, running in seats.held(session)] == [(1, False)]
        assert sound(session)
        seats.end(session, lease.job_id, 1)
        seats.end(session, lease.job_id, 1)
        assert take(session) == Lease(lease.job_id, 2, "o")
        assert sound(session)


def test_the_seats_of_a_silent_node_are_ended_for_it() -> None:
    with transaction() as session:
        lease, _ = took(session)
        attempts.close(session, lease, STOPPED, seats_end=False)
        running, _ = took(session)
        seats.end_silent(session, 65)
        assert len(seats.held(session)) == 2, "the node was heard of"
        session.execute(update(Node).values(seen_at=func.now() - timedelta(seconds=66)))
        seats.end_silent(session, 65)
        assert [seat.job_id for seat, _ in seats.held(session)] == [running.job_id], "that of an open attempt stays"


def test_devices_are_held_by_name_whatever_list_the_node_comes_back_with() -> None:
    """A card fell off the bus, and the others have other numbers now."""
    with transaction() as session:
        _, held = took(session, 2)
        assert held == ["GPU-0", "GPU-1"]
        nodes.seen(session, "n1", 3, 1, devices=["GPU-1", "GPU-2", "GPU-3"])
        assert took(session, 2)[1] == ["GPU-2", "GPU-3"]
        queued(session)
        assert take(session) is None


def test_a_device_that_failed_twice_within_an_hour_is_left_out() -> None:
    with transaction() as session:
        for _ in range(2):
            lease, given = took(session)
            assert given == ["GPU-0"]
            attempts.close(session, lease, replace(LOST, device="GPU-0"))
        assert seats.faulty(session) == {("n1", "GPU-0")}
        lease, given = took(session, 3)
        assert given == ["GPU-1", "GPU-2", "GPU-3"]
        attempts.close(session, lease, STOPPED)
        queued(session, ranks=4)
        session.execute(update(Job).values(state=JobState.PAUSED).where(Job.ranks < 4))
        assert take(session) is None
        session.execute(update(Seat).values(failed_at=func.now() - timedelta(minutes=61)))
        assert take(session) is not None, "the hour is over"
        assert seats.faulty(session) == set()


def test_the_same_name_on_another_node_is_another_device() -> None:
    with transaction() as session:
        for _ in range(2):
            lease, _ = took(session)
            attempts.close(session, lease, replace(LOST, device="GPU-0"))
        nodes.seen(session, "n2", 1, 1, devices=["GPU-0"])
        queued(session)
        assert take(session, "n2") is not None


def test_the_net_in_the_database() -> None:
    """A claim that would over-commit fails, whatever it believed."""
    with transaction() as session:
        lease, _ = took(session)
        other = queued(session)
        given = {"job_id": other.id, "epoch": 1, "node": "n1", "owner": "o", "lease_seconds": 60}
        with pytest.raises(IntegrityError, match="pk_seat_devices"), session.begin_nested():
            session.execute(seats.OPEN, {**given, "devices": ["GPU-0"]})
        assert session.scalars(select(Attempt.job_id)).all() == [lease.job_id], "nothing of it is left"


def test_doctor_sees_a_device_in_two_open_seats() -> None:
    with transaction() as session:
        took(session), took(session)
        session.execute(update(Seat).values(devices=["GPU-0"]))
        found = invariants.breaches(session)
        assert "n1 GPU-0 is in 2 open seats" in [row for breach in found for row in breach.rows]


def storm(claims: int, claimers: int = 4) -> int:
    """So many claims on two nodes by claimers that take, end and take over as they please; how many were granted."""
    with transaction() as session:
        nodes.seen(session, "n2", 3, 1)
        for number in range(12):
            queued(session, 1 + number % 3)

    def work(seed: int) -> int:
        draw, granted = random.Random(seed), 0
        for _ in range(claims // claimers):
            node = draw.choice(["n1", "n2"])
            with transaction() as session:
                lease = attempts.claim(session, node=node, owner=f"o{seed}", lease_seconds=60)
            granted += lease is not None
            with transaction() as session:
                mine = session.scalars(
                    select(Attempt).where(Attempt.ended_at.is_(None), Attempt.owner == f"o{seed}").limit(3)
                ).all()
                if mine and (lease is None or draw.random() < 0.5):
                    each = draw.choice(mine)
                    held = Lease(each.job_id, each.epoch, each.owner)
                    attempts.close(session, held, STOPPED, seats_end=draw.random() < 0.7)
            with transaction() as session:
                for job_id, epoch in seats.left_on(session, node):
                    seats.end(session, job_id, epoch)
        return granted

    with ThreadPoolExecutor(claimers) as pool:
        granted = sum(pool.map(work, range(claimers)))
    with transaction() as session:
        assert sound(session)
        assert session.scalar(select(func.count()).select_from(SeatDevice)) == sum(
            len(seat.devices) for seat in session.scalars(select(Seat).where(Seat.ended_at.is_(None)))
        )
    return granted


def test_four_claimers_neither_over_commit_nor_block_each_other() -> None:
    """An over-commit or a deadlock is an error of the database, and fails the test."""
    assert storm(400) > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_claims_by_four() -> None:
    assert storm(10_000) > 2_500
