"""Connections and transactions of the ledger: SQLite in WAL mode, or PostgreSQL, by one URL.

`write()` nests: inside an open transaction of the same thread it joins it, so that many small
operations can share one commit (`commits.CommitQueue`). A write takes the database's lock at
once (`BEGIN IMMEDIATE`), so that two writers queue instead of failing half-way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.dml import UpdateBase

from resources.adapters.database_url import read_url, with_patience
from resources.adapters.ledger.row_writes import RowWrites
from resources.core.errors import UsageError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 30
# A process that is stopped within a transaction holds its rows, and with them everybody else, until
# the server ends its session. No transaction of ours waits for anything in between.
IDLE_LIMIT_S = 60.0
WRITES = "ledger_writes"


class Database:
    """One database, shared by the threads of a process.

    Args:
        url: SQLAlchemy URL; `sqlite:///path` or `postgresql://...`.
        idle_limit_s: Longest pause of a process within a transaction, on PostgreSQL.

    Raises:
        UsageError: the URL is none, or its driver is not installed.
    """

    def __init__(self, url: str, idle_limit_s: float = IDLE_LIMIT_S) -> None:
        self.url = read_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        connect_args: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S} if self.is_sqlite else {}
        self.engine = create_engine(
            with_patience(self.url, "pipeline"),
            connect_args=connect_args,
            pool_pre_ping=not self.is_sqlite,
        )
        self._local = threading.local()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "connect", partial(_prepare_postgres, idle_limit_s))

    def close(self) -> None:
        self.engine.dispose()

    @property
    def name(self) -> str:
        """Where it is, without a password, for messages."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the end; joins the thread's open one."""
        open_connection: Connection | None = getattr(self._local, "connection", None)
        if open_connection is not None:
            yield open_connection
            return
        with (
            self.engine.connect().execution_options(**{WRITES: True}) as connection,
            connection.begin(),
        ):
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries; inside an open transaction it sees its writes."""
        open_connection: Connection | None = getattr(self._local, "connection", None)
        if open_connection is not None:
            yield open_connection
            return
        with self.engine.connect() as connection:
            yield connection

    def lock(self, connection: Connection, name: str) -> None:
        """Let only one transaction at a time go on from here, until it ends.

        SQLite has one writer at a time anyway.
        """
        if not self.is_sqlite:
            statement = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
            connection.execute(statement, {"name": name})

    def insert(self, table: Any) -> Any:
        """INSERT in the database's own dialect, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def insert_ignore(self, table: Any) -> Any:
        """INSERT that leaves existing rows as they are."""
        return self.insert(table).on_conflict_do_nothing()

    def upsert(self, table: Any, keys: list[str]) -> Any:
        """INSERT that overwrites the row with the same keys."""
        statement = self.insert(table)
        changed = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    def rows(self, statement: UpdateBase) -> RowWrites:
        """An INSERT or UPDATE to be run for many rows at a time."""
        return RowWrites(statement, self.engine.dialect)

    def migrate(self) -> None:
        """Bring the schema to the newest version; two processes at once wait for each other.

        Raises:
            UsageError: the database cannot be opened, or is newer than this program.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        script = ScriptDirectory.from_config(config)
        try:
            with self.read() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
            if current == script.get_current_head():
                return
            known = {revision.revision for revision in script.walk_revisions()}
            if current is not None and current not in known:
                raise UsageError(
                    f"The ledger {self.name} was written by a newer version of pipeline "
                    f"(schema {current}); update this installation."
                )
            with self.write() as connection:
                if not self.is_sqlite:
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203114)")
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (OperationalError, DBAPIError) as error:
            raise UsageError(
                f"The ledger {self.name} cannot be opened: {_one_line(error.orig)}. "
                "Check that the path is writable or the server is up (PIPELINE_HOME, "
                "PIPELINE_DATABASE_URL)."
            ) from error


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # The driver's own transaction control would begin deferred; ours is in _begin_sqlite.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def _prepare_postgres(idle_limit_s: float, dbapi_connection: Any, _record: Any) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = {round(idle_limit_s * 1000)}")
    cursor.close()
    dbapi_connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
