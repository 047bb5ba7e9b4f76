"""Healing: what was requested, who drives it, how runs ended, ticks, alerts, and the inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("progress_at", sa.Double(), nullable=True))
    op.add_column("workers", sa.Column("waits_until", sa.Double(), nullable=True))
    # Until now it was said of every pass that did not come to its end; from now on, of those alone
    # that a person stopped.
    op.execute("UPDATE workers SET end_reason = 'broken off' WHERE end_reason = 'interrupted'")
    op.create_index("ix_work_state", "work", ["state", "phase"])
    op.create_index("ix_work_refresh", "work", ["refresh_asked", "phase"])
    op.create_index("ix_members_domain", "members", ["domain"])
    op.create_index("ix_work_settled", "work", ["settled_at"])
    op.create_table(
        "requests",
        sa.Column("batch_key", sa.String(length=80), nullable=False),
        sa.Column("phase", sa.String(length=40), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("progress", sa.String(length=80), nullable=False, server_default=""),
        sa.Column("launches", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("launched_at", sa.Double(), nullable=True),
        sa.Column("last_run_id", sa.String(length=64), nullable=True),
        sa.Column("held_at", sa.Double(), nullable=True),
        sa.Column("held_reason", sa.Text(), nullable=True),
        sa.Column("code_version", sa.String(length=80), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["batch_key"], ["batches.key"]),
        sa.PrimaryKeyConstraint("batch_key", "phase"),
    )
    copy = sa.text(
        "INSERT INTO requests (batch_key, phase, requested_at, scope) "
        "SELECT key, :phase, requested_at, '' FROM batches WHERE requested_at IS NOT NULL"
    )
    for phase in ("COMPANY_ENRICHMENT", "PAGE_SCRAPING"):
        op.execute(copy.bindparams(phase=phase))
    # Not by a copy of the table, which SQLite refuses: others refer to it.
    op.drop_column("batches", "requested_at")
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("max_credits", sa.Double(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    for name, key in (("drivers", "scope"), ("run_processes", "run_id")):
        op.create_table(
            name,
            sa.Column(key, sa.String(length=64), nullable=False),
            sa.Column("host", sa.Text(), nullable=False),
            sa.Column("boot_id", sa.String(length=64), nullable=False),
            sa.Column("pid", sa.Integer(), nullable=False),
            sa.Column("process_started", sa.Double(), nullable=False),
            sa.Column("started_at", sa.Double(), nullable=False),
            sa.Column("ended_at", sa.Double(), nullable=True),
            sa.PrimaryKeyConstraint(key),
        )
    op.add_column(
        "run_processes",
        sa.Column("waits_until", sa.Double(), nullable=False, server_default="0"),
    )
    op.create_table(
        "run_endings",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("how", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("ix_run_endings_at", "run_endings", ["at"])
    op.create_table(
        "ticks",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("interval_s", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("hit", sa.Integer(), nullable=False),
        sa.Column("most_hit", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("over_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alerts_over", "alerts", ["over_at"])
    op.create_table(
        "alert_channels",
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("claimed_by", sa.String(length=36), nullable=True),
        sa.Column("claimed_until", sa.Double(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("problem_since", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.create_table(
        "alert_tellings",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.Column("over_told_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.PrimaryKeyConstraint("alert_id", "channel"),
    )
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alert_messages_at", "alert_messages", ["at"])
    op.create_table(
        "inbox_files",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("list_name", sa.String(length=80), nullable=True),
        sa.Column("scope", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("sentence", sa.Text(), nullable=False, server_default=""),
        sa.Column("requested_at", sa.Double(), nullable=True),
        sa.Column("told_at", sa.Double(), nullable=True),
        sa.Column("claim", sa.String(length=36), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.Double(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("has_move_failed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_inbox_files_closed", "inbox_files", ["closed_at"])


def downgrade() -> None:
    raise NotImplementedError("the ledger only moves forward; restore a backup instead")
