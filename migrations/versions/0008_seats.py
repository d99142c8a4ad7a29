"""Seats: which devices of its node an attempt holds

What runs meanwhile holds devices by number, as a node without GPUs names them; drain nodes with GPUs first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OF_OPEN_ATTEMPTS = """
WITH held AS (
    SELECT job_id, epoch, node, slots, coalesce(sum(slots) OVER before, 0) AS first FROM attempts WHERE ended_at IS NULL
    WINDOW before AS (PARTITION BY node ORDER BY started_at, job_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
INSERT INTO seats (job_id, epoch, node_rank, node, devices)
SELECT job_id, epoch, 0, node, ARRAY(SELECT 'cpu' || n FROM generate_series(first, first + slots - 1) n) FROM held
"""
THEIR_DEVICES = """
INSERT INTO seat_devices (node, device, job_id, epoch, node_rank)
SELECT node, unnest(devices), job_id, epoch, node_rank FROM seats
"""


def upgrade() -> None:
    op.add_column("nodes", sa.Column("devices", ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    op.execute("UPDATE nodes SET devices = ARRAY(SELECT 'cpu' || n FROM generate_series(0, slots - 1) n)")
    op.create_table(
        "seats",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("node_rank", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("devices", ARRAY(sa.Text()), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("failed_device", sa.Text()),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["job_id", "epoch"], ["attempts.job_id", "attempts.epoch"], name=op.f("fk_seats_job_id_attempts")
        ),
        sa.PrimaryKeyConstraint("job_id", "epoch", "node_rank", name=op.f("pk_seats")),
    )
    op.create_index("ix_seats_node", "seats", ["node"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("ix_seats_failed", "seats", ["failed_at"], postgresql_where=sa.text("failed_device IS NOT NULL"))
    op.create_table(
        "seat_devices",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("node_rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "epoch", "node_rank"],
            ["seats.job_id", "seats.epoch", "seats.node_rank"],
            name=op.f("fk_seat_devices_job_id_seats"),
        ),
        sa.PrimaryKeyConstraint("node", "device", name=op.f("pk_seat_devices")),
    )
    op.create_index("ix_seat_devices_seat", "seat_devices", ["job_id", "epoch", "node_rank"])
    op.execute(OF_OPEN_ATTEMPTS)
    op.execute(THEIR_DEVICES)


def downgrade() -> None:
    op.drop_table("seat_devices")
    op.drop_table("seats")
    op.drop_column("nodes", "devices")
