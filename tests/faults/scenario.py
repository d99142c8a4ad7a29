"""What must happen for the points that no undisturbed life passes, and what all that do so need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core.contract.states import FileStatus
from core.db import nodes
from core.db.engine import transaction
from core.db.tables import (
    File,
    Node,
)
from core.objects.store import Store
from tests.faults.lives import Lives
from tests.storm.victims import Victim, present
from tests.waiting import until


@dataclass(frozen=True)
class Scenario:
    """`reach` brings the service to each of `points`, which are armed, and sees what it began to its end."""

    points: tuple[str, ...]
    reach: Callable[[Lives], None]


def both(function: str) -> tuple[str, str]:
    return f"{function}:committing", f"{function}:committed"


def victim(lives: Lives, component: str) -> Victim:
    return until(lambda: present(lives.live.home, lives.live.process.pid)[component], f"a {component}")[0]


def drain(lives: Lives, *, on: bool) -> None:
    """While it is drained, nothing of what is uploaded or created begins."""
    with transaction() as session:
        for name in session.scalars(select(Node.name)).all():
            nodes.drain(session, name, on=on)


def judged(file_id: str) -> None:
    def look() -> bool:
        with transaction() as session:
            file = session.get_one(File, file_id)
            assert file.status != FileStatus.ERROR, file.status_details
            return file.status == FileStatus.PROCESSED

    until(look, f"the checks of {file_id}", 120)


def gone(key: str) -> None:
    store = Store.from_settings()
    until(lambda: store.head(key) is None, f"{key} to go", 90)
    store.close()


def run(lives: Lives, file: str, steps: int, **script: Any) -> str:
    job = lives.create(f"run of {file}", file, steps=steps, **script)
    lives.succeeded(job, steps)
    return job
