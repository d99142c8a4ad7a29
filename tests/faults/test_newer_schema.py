"""A worker of the last release on a newer schema runs jobs.

The newer schema is a migration of the test's own behind the newest real one: all that may be in an expanding one.
"""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from core.contract.states import JobState, TaskState
from core.db import migrate
from core.db.engine import transaction
from core.db.tables import Task
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights

NEXT = "9999"
EXPANDING = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{revision}", "{down}", None, None
TABLES = ("jobs", "attempts", "tasks", "events", "metrics", "files", "models", "checkpoints", "resume_points", "nodes")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("perhaps", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("surely", sa.Integer(), nullable=False, server_default="7"))
    op.create_index("jobs_surely", "jobs", ["surely", "state"])
    op.create_table(
        "notes",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_check_constraint("surely_not_negative", "attempts", "surely >= 0")


def downgrade() -> None:
    pass  # nobody goes back from it here
"""


@pytest.fixture
def newer(database_url: str, tmp_path: Path) -> str:
    """The test's database, one expanding migration ahead of this code. Returns its url."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.FOLDER, folder)
    (folder / "versions" / f"{NEXT}_the_next.py").write_text(EXPANDING.format(revision=NEXT, down=migrate.head()))
    engine = create_engine(database_url)
    with engine.begin() as connection:
        settings = migrate.config(connection)
        settings.set_main_option("script_location", str(folder))
        command.upgrade(settings, "head")
    assert migrate.current(engine) == NEXT
    engine.dispose()
    return database_url


def test_a_worker_serves_a_newer_schema(newer: str, started: StartWorker, submit: Submit, store: Store) -> None:
    """A resume point, a kill, a second attempt, a checkpoint, results: each table is written. A newer worker that died
    here has left a task of a kind that this one does not know.
    """
    with transaction() as session:
        session.add(unknown := Task(id="later", kind="webhook", subject="x", state=TaskState.RUNNING, epoch=1))
        unknown.node, unknown.owner = "n1", "o"
        unknown.lease_until = datetime.now(UTC) - timedelta(hours=1)
    started()
    job_id = submit(steps=6, at={"5": "kill"})
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    assert job_row(job_id).epoch == 2
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 6)
    with transaction() as session:
        assert session.get_one(Task, "later").state == TaskState.RUNNING, "it is left to the newer workers"
    assert_whole(store)
