"""Kinds of data, halvings after out-of-memory, facts of nodes, and the reference cache"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("files", sa.Column("data_kind", sa.Text()))
    op.add_column("files", sa.Column("data_columns", JSONB, server_default=sa.text("'[]'"), nullable=False))
    op.add_column("jobs", sa.Column("halvings", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("nodes", sa.Column("facts", JSONB, server_default=sa.text("'{}'"), nullable=False))
    op.create_table(
        "reference_entries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("data_digest", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("sequences", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_reference_entries_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_entries")),
    )
    op.create_index("ix_reference_entries_found", "reference_entries", ["project_id", "key", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_reference_entries_found", table_name="reference_entries")
    op.drop_table("reference_entries")
    op.drop_column("nodes", "facts")
    op.drop_column("jobs", "halvings")
    op.drop_column("files", "data_columns")
    op.drop_column("files", "data_kind")
