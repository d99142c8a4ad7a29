"""What the last checkpoint of a job is verified by, for whoever comes to do it"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checkpoints", sa.Column("proof", JSONB()))


def downgrade() -> None:
    op.drop_column("checkpoints", "proof")
