"""Tables of the ledger, as SQLAlchemy Core. The migrations create them; nothing else does.

Times are seconds since the epoch (UTC). Payloads are zstd-compressed JSON. Types are such that
SQLite and PostgreSQL take the same schema.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class CleanText(TypeDecorator[str]):
    """Text from outside: PostgreSQL takes neither NUL nor half a surrogate pair, and one such
    character in a page's header must not look like a broken database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or value.isascii():
            return value.replace("\x00", "") if value else value
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", CleanText, nullable=False),
)

lists = Table(
    "lists",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)

ingests = Table(
    "ingests",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("list_id", ForeignKey("lists.id"), nullable=False, index=True),
    Column("source", CleanText, nullable=False),
    Column("digest", CleanText, nullable=False),
    Column("at", Double, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("added", Integer, nullable=False),
)

rejected_rows = Table(
    "rejected_rows",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("list_id", ForeignKey("lists.id"), nullable=False, index=True),
    Column("line", Integer, nullable=False),
    Column("raw", CleanText, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("detail", CleanText, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("list_id", ForeignKey("lists.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("list_id", "number"),
)

members = Table(
    "members",
    metadata,
    Column("list_id", ForeignKey("lists.id"), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("batch_key", ForeignKey("batches.key"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("name", CleanText),
    Column("country", String(2)),
    Column("other_names", CleanText, nullable=False, server_default="[]"),
    Column("attributes", CleanText, nullable=False, server_default="{}"),
    Index("ix_members_batch", "batch_key", "position"),
    Index("ix_members_domain", "domain"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("host", CleanText, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Double, nullable=False),
    Column("run_id", String(64), index=True),
    Column("phase", String(40), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("doing", CleanText),
    # When a commit of its own brought something; a beat is none.
    Column("progress_at", Double),
    # Until when it waits on purpose.
    Column("waits_until", Double),
    Column("ended_at", Double),
    Column("end_reason", CleanText),
    Index("ix_workers_open", "ended_at"),
)

work = Table(
    "work",
    metadata,
    Column("phase", String(40), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("kind", String(40)),
    Column("reason", CleanText),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("asked_to_wait_until", Double, nullable=False, server_default="0"),
    Column("rounds", Integer, nullable=False, server_default="0"),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("deaths_alone", Integer, nullable=False, server_default="0"),
    Column("claimed_by", ForeignKey("workers.id")),
    Column("claimed_alone", Integer, nullable=False, server_default="0"),
    # 1 while a settled domain is to be worked on again; what it settled with stays till then.
    Column("refresh_asked", Integer, nullable=False, server_default="0"),
    # 1 where that means what is kept of it alone, without asking anybody.
    Column("extract_only", Integer, nullable=False, server_default="0"),
    Column("code_version", String(40)),
    Column("data_version", String(64)),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("settled_at", Double),
    Column("updated_at", Double, nullable=False),
    Index("ix_work_claimed", "claimed_by"),
    # What is not finished, and what has settled lately, are few rows of many.
    Index("ix_work_state", "state", "phase"),
    Index("ix_work_refresh", "refresh_asked", "phase"),
    Index("ix_work_settled", "settled_at"),
)

results = Table(
    "results",
    metadata,
    Column("phase", String(40), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(255), nullable=False, index=True),
    Column("phase", String(40), nullable=False),
    Column("at", Double, nullable=False),
    Column("what", String(40), nullable=False),
    Column("kind", String(40)),
    Column("message", CleanText, nullable=False),
    Column("url", CleanText),
    Column("provider", String(40)),
    Column("rounds", Integer, nullable=False, server_default="0"),
    Column("worker_id", String(36)),
    Column("stack", CleanText),
)

calls = Table(
    "calls",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("provider", String(40), nullable=False),
    Column("worker_id", String(36)),
    Column("scope", String(64), nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("answered_at", Double),
    Column("domains", Integer, nullable=False),
    Column("outcome", String(40)),
    Column("message", CleanText),
    Column("reserved", Double, nullable=False),
    Column("credits", Double, nullable=False, server_default="0"),
    Index("ix_calls_scope", "scope", "provider"),
)

answers = Table(
    "answers",
    metadata,
    Column("provider", String(40), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("call_id", String(36), nullable=False),
    Column("state", String(20), nullable=False),
    Column("body", LargeBinary),
    Column("url", CleanText, nullable=False, server_default=""),
    Column("credits", Double, nullable=False, server_default="0"),
    Column("asked", Integer, nullable=False, server_default="1"),
    Column("at", Double, nullable=False),
    Index("ix_answers_call", "call_id"),
)

pages = Table(
    "pages",
    metadata,
    Column("domain", String(255), primary_key=True),
    Column("url", String(2048), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("final_url", CleanText, nullable=False),
    Column("status", Integer, nullable=False),
    Column("content_type", CleanText),
    Column("body_hash", String(64)),
    Column("size_bytes", Integer, nullable=False),
    Column("fetched_at", Double, nullable=False),
    Column("body_file", String(120)),
    Column("body_offset", BigInteger),
    Column("body_length", Integer),
    Column("body_encoding", CleanText),
    Column("etag", CleanText),
    Column("last_modified", CleanText),
    Column("changed_at", Double),
    Column("robots_tag", CleanText),
)

robots = Table(
    "robots",
    metadata,
    Column("host", String(300), primary_key=True),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("fetched_at", Double, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("asset", String(40), primary_key=True),
    Column("batch_key", String(80), primary_key=True),
    Column("path", CleanText, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("data_version", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("at", Double, nullable=False),
)

breakers = Table(
    "breakers",
    metadata,
    Column("endpoint", String(300), primary_key=True),
    Column("status", String(10), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("window", CleanText, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("retry_at", Double, nullable=False),
    Column("probe_by", String(36)),
    Column("probe_until", Double, nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_breakers_updated", "updated_at"),
)

breaker_changes = Table(
    "breaker_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("endpoint", String(300), nullable=False, index=True),
    Column("at", Double, nullable=False, index=True),
    Column("old", String(10), nullable=False),
    Column("new", String(10), nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("worker_id", String(36)),
)

paces = Table(
    "paces",
    metadata,
    Column("endpoint", String(300), primary_key=True),
    Column("rate", Double, nullable=False),
    Column("tokens", Double, nullable=False),
    Column("filled_at", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_paces_updated", "updated_at"),
)

pace_shares = Table(
    "pace_shares",
    metadata,
    Column("endpoint", String(300), primary_key=True),
    Column("worker_id", String(36), primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("until", Double, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("batch_key", ForeignKey("batches.key"), primary_key=True),
    Column("phase", String(40), primary_key=True),
    Column("requested_at", Double, nullable=False),
    # Whose limit of credits holds for it.
    Column("scope", String(64), nullable=False),
    # Automatic runs in a row that brought nothing, and what the batch's progress was before the
    # newest of them.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("progress", String(80), nullable=False, server_default=""),
    Column("launches", Integer, nullable=False, server_default="0"),
    Column("launched_at", Double),
    # When the newest run ended that did not settle it.
    Column("ended_at", Double),
    Column("last_run_id", String(64)),
    Column("held_at", Double),
    Column("held_reason", CleanText),
    Column("code_version", String(80), nullable=False, server_default=""),
    # Runs in a row that were ended from outside while nothing settled.
    Column("deaths", Integer, nullable=False, server_default="0"),
)

stale_profiles = Table(
    "stale_profiles",
    metadata,
    Column("batch_key", String(80), primary_key=True),
    # What they would be built from.
    Column("fingerprint", String(64), nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("max_credits", Double),
    Column("at", Double, nullable=False),
)

drivers = Table(
    "drivers",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("host", CleanText, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False, server_default="0"),
    # Until when it waits on purpose.
    Column("waits_until", Double, nullable=False, server_default="0"),
    Column("ended_at", Double),
)

run_processes = Table(
    "run_processes",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("host", CleanText, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    # Until when it waits on purpose before it tries again.
    Column("waits_until", Double, nullable=False, server_default="0"),
)

run_endings = Table(
    "run_endings",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("how", String(40), nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("at", Double, nullable=False, index=True),
)

ticks = Table(
    "ticks",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("at", Double, nullable=False),
    Column("interval_s", Double, nullable=False),
    Column("note", CleanText, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("topic", String(40), nullable=False),
    Column("subject", CleanText, nullable=False),
    Column("sentence", CleanText, nullable=False),
    # Batches or domains that it hits now, and the most it ever hit.
    Column("hit", Integer, nullable=False),
    Column("most_hit", Integer, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("over_at", Double),
    Index("ix_alerts_over", "over_at"),
)

alert_channels = Table(
    "alert_channels",
    metadata,
    # A hash of its address, which is a secret.
    Column("channel", String(64), primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("since", Double, nullable=False),
    # Who is telling it something, and until when nobody else does.
    Column("claimed_by", String(36)),
    Column("claimed_until", Double),
    # Why the newest message could not be sent, and since when none could.
    Column("problem", CleanText),
    Column("problem_since", Double),
    # Tries in a row that brought nothing, and until when none is made.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_try_at", Double),
)

alert_tellings = Table(
    "alert_tellings",
    metadata,
    Column("alert_id", ForeignKey("alerts.id"), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("told_at", Double, nullable=False),
    Column("over_told_at", Double),
)

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("channel", String(64), nullable=False),
    Column("topic", String(40), nullable=False),
    Column("at", Double, nullable=False),
    Column("title", CleanText, nullable=False),
    Index("ix_alert_messages_at", "at"),
)

inbox_files = Table(
    "inbox_files",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("address", CleanText, nullable=False),
    Column("stamp", CleanText, nullable=False),
    Column("state", String(20), nullable=False),
    Column("first_seen_at", Double, nullable=False),
    Column("at", Double, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("list_name", String(80)),
    Column("scope", String(64), nullable=False, server_default=""),
    Column("sentence", CleanText, nullable=False, server_default=""),
    Column("requested_at", Double),
    Column("told_at", Double),
    # Whose work on the file counts, and until when nobody else begins.
    Column("claim", String(36)),
    Column("claimed_by", CleanText),
    Column("claimed_until", Double),
    Column("place", CleanText),
    Column("has_move_failed", Integer, nullable=False, server_default="0"),
    Column("closed_at", Double),
    Index("ix_inbox_files_closed", "closed_at"),
)
