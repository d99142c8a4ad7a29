"""Whose a Task is and when it was claimed, so that projects take turns; a file's bad lines as rows of their own

Files judged before keep theirs in the report, where they are read still.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LIVE = sa.text("state IN ('queued', 'running')")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("project_id", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("tasks", sa.Column("claimed_at", sa.DateTime(timezone=True)))
    op.execute(
        "UPDATE tasks SET project_id = f.project_id FROM files f WHERE kind = 'validate_file' AND f.id = subject"
    )
    op.create_index("ix_tasks_turn", "tasks", ["project_id", "state", "number"], postgresql_where=LIVE)
    op.create_index("ix_tasks_claimed", "tasks", ["project_id", "claimed_at"])
    op.create_table(
        "bad_lines",
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_bad_lines_file_id_files")),
        sa.PrimaryKeyConstraint("file_id", "number", name=op.f("pk_bad_lines")),
    )


def downgrade() -> None:
    op.drop_table("bad_lines")
    op.drop_index("ix_tasks_claimed", table_name="tasks")
    op.drop_index("ix_tasks_turn", table_name="tasks")
    op.drop_column("tasks", "claimed_at")
    op.drop_column("tasks", "project_id")
