"""Deletions that wait for a worker, done here."""

from datetime import UTC, datetime, timedelta

from core.contract.states import TaskKind, TaskState
from core.db.engine import transaction
from core.db.tables import Task
from core.db.tasks import TaskClaim
from core.objects.store import Store
from worker.task import delete_objects


def work_off(store: Store) -> int:
    """How many there were; tasks of another kind stay as they are."""
    claims = []
    with transaction() as session:
        for task in session.query(Task).filter_by(kind=TaskKind.DELETE_OBJECTS, state=TaskState.QUEUED):
            task.state, task.epoch, task.owner = TaskState.RUNNING, task.epoch + 1, "o"
            task.lease_until = datetime.now(UTC) + timedelta(hours=1)
            claims.append(TaskClaim(task.id, task.epoch, "o", TaskKind.DELETE_OBJECTS, task.subject))
    for claim in claims:
        delete_objects(claim, store)
    return len(claims)
