"""Healing: which profiles are stale, and how often in a row a batch's runs died."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stale_profiles",
        sa.Column("batch_key", sa.String(length=80), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("batch_key"),
    )
    op.add_column("requests", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    # Until now all of them were looked at again as long as one was stale; some may be left.
    op.execute("DELETE FROM meta WHERE key = 'profiles_checked_until'")


def downgrade() -> None:
    raise NotImplementedError("the ledger only moves forward; restore a backup instead")
