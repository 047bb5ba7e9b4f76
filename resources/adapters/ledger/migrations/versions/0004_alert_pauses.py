"""Alerts: a channel that cannot be reached is tried again after longer and longer pauses."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "alert_channels",
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column("alert_channels", sa.Column("next_try_at", sa.Double(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the ledger only moves forward; restore a backup instead")
