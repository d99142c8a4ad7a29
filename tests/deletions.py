"""Deletions that wait for a worker, done here."""

from core.contract.states import TaskKind
from core.db import nodes, tasks
from core.db.engine import transaction
from core.objects.store import Store
from worker.task import delete_objects


def work_off(store: Store) -> int:
    """How many there were; tasks of another kind are claimed and left."""
    done = 0
    while True:
        with transaction() as session:
            nodes.seen(session, "n1", 1, 100)
            claim = tasks.claim(session, node="n1", owner="o", lease_seconds=60)
        if claim is None:
            return done
        if claim.kind == TaskKind.DELETE_OBJECTS:
            delete_objects(claim, store)
            done += 1
