"""Page bodies lie many to a file; what tells whether a page has changed is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pages", sa.Column("body_file", sa.String(length=120), nullable=True))
    op.add_column("pages", sa.Column("body_offset", sa.BigInteger(), nullable=True))
    op.add_column("pages", sa.Column("body_length", sa.Integer(), nullable=True))
    op.add_column("pages", sa.Column("body_encoding", sa.Text(), nullable=True))
    op.add_column("pages", sa.Column("etag", sa.Text(), nullable=True))
    op.add_column("pages", sa.Column("last_modified", sa.Text(), nullable=True))
    op.add_column("pages", sa.Column("changed_at", sa.Double(), nullable=True))
    op.add_column("pages", sa.Column("robots_tag", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the ledger only moves forward; restore a backup instead")
