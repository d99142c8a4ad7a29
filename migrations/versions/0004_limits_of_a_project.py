"""Limits of a project: how many jobs may run, how many may wait; none where it is null"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("max_running", sa.Integer(), nullable=True))
    op.add_column("projects", sa.Column("max_queued", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("projects", "max_queued")
    op.drop_column("projects", "max_running")
