"""Drivers give signs of life; and when the newest automatic run over a batch ended is known."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("beat_at", "waits_until"):
        op.add_column("drivers", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    op.add_column("requests", sa.Column("ended_at", sa.Double(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the ledger only moves forward; restore a backup instead")
