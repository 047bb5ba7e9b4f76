"""Dagster's records on PostgreSQL: a schema of their own, one small pool, patience with restarts.

Dagster's own classes do the work (dagster-postgres). They differ here in three things. Their tables
are in the schema `dagster_records`: both Dagster and the ledger have tables called `runs` and
`alembic_version`. All instances of a process share one pool, whose connections are tried before
use: Dagster opens an instance for every sensor tick, and a new connection for every event it logs.
And a server that restarts is waited for, instead of failing whatever is under way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from dagster import DagsterInstance
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from resources.adapters.database_url import with_patience
from resources.core.errors import UsageError

SCHEMA = "dagster_records"
UNFINISHED = "dagster_records_unfinished"
# What an idle process keeps open, and what its threads may open all together.
KEPT_OPEN = 2
AT_MOST = 20
# Firewalls drop what is idle for longer.
RECYCLE_S = 300
# A process that is stopped within a transaction holds its rows, and with them everybody else.
IDLE_LIMIT_S = 60
# A server restarts in seconds. For longer a run does not hold its slot: it is healed afterwards.
PATIENCE_S = 30.0
# Somebody in front of a browser would rather be told.
WEBSERVER_PATIENCE_S = 5.0
PAUSE_S = 0.5
# SQLSTATE of what passes by itself: the connection broke (08), too many of them (53300), the server
# is shut down, crashed, or starts up (57P01 to 57P03). Whatever else it says stays so.
_PASSING_CLASS = "08"
_PASSING = frozenset({"53300", "57P01", "57P02", "57P03"})
# While a connection is opened psycopg2 keeps the SQLSTATE to itself. These words stand for 28P01,
# 28000, 3D000 and 42501; where the server speaks another language, it is waited for in vain.
_REFUSING = ("password authentication", "pg_hba.conf", "does not exist", "permission denied")
_log = logging.getLogger(__name__)


def open_storage(
    url: URL, inst_data: ConfigurableClassData | None = None
) -> DagsterStorage[DagsterInstance]:
    """Dagster's storage in a PostgreSQL database; its tables are made when they are missing.

    Raises:
        UsageError: the database cannot be opened, or the tables can't be made; says why.
    """
    address = with_patience(url, "pipeline (Dagster)").render_as_string(hide_password=False)
    with _lock:
        if address not in _made:
            _make_schema(make_url(address))
            _made.add(address)
    return PostgresStorage(address, inst_data)


class Outage:
    """How long a process waits for its database: once for each time that it is away.

    Not once for each connection: a run that ends because of an outage logs several events, and
    each of them would wait again.

    Args:
        patience_s: Seconds from the first failed connection until waiting is given up.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._began_at: float | None = None

    def is_new(self, now: float) -> bool:
        """Note a failed connection. Returns whether it is the first of this outage."""
        if self._began_at is not None:
            return False
        self._began_at = now
        return True

    def is_worth_waiting(self, now: float) -> bool:
        """Whether to try again."""
        return self._began_at is None or now - self._began_at < self._patience_s

    def end(self) -> None:
        """Note that the database is there."""
        self._began_at = None


class Pool:
    """Connections of one process, for all of Dagster's storages in it.

    Args:
        patience_s: Seconds that a database is waited for which is away.
    """

    def __init__(
        self,
        engine: Engine,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self._outage = Outage(patience_s)
        self._clock = clock
        self._sleep = sleep

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection that has just been tried.

        Raises:
            OperationalError: the database is away for too long, or refuses us.
        """
        with self._open() as connection:
            yield connection

    def _open(self) -> Connection:
        while True:
            try:
                connection = self.engine.connect()
            except OperationalError as error:
                now = self._clock()
                if self._outage.is_new(now):
                    _log.warning("%s does not answer: %s", self._name, _one_line(error))
                if _is_refusal(error) or not self._outage.is_worth_waiting(now):
                    raise
                self._sleep(PAUSE_S)
            else:
                self._outage.end()
                return connection

    @property
    def _name(self) -> str:
        return f"The database {_without_options(self.engine.url)}"


class _Pooled:
    """Puts the process's pool in the place of a connection each."""

    postgres_url: str
    pool: Pool

    def use_pool(self) -> None:
        """Take connections from the process's pool from now on."""
        self._use(_pool_of(self.postgres_url, PATIENCE_S))

    def optimize_for_webserver(
        self,
        statement_timeout: int,
        pool_recycle: int,  # noqa: ARG002  # there is a pool already
        max_overflow: int,  # noqa: ARG002
    ) -> None:
        """Limit statements, in milliseconds, and patience."""
        limited = _with_options(make_url(self.postgres_url), statement_timeout=statement_timeout)
        self._use(_pool_of(limited, WEBSERVER_PATIENCE_S))

    def _use(self, pool: Pool) -> None:
        self.pool = pool
        self._engine = pool.engine


class _Runs(_Pooled, PostgresRunStorage):
    def connect(self) -> AbstractContextManager[Connection]:
        return self.pool.connected()


class _Events(_Pooled, PostgresEventLogStorage):
    def _connect(self) -> AbstractContextManager[Connection]:
        return self.pool.connected()


class _Schedules(_Pooled, PostgresScheduleStorage):
    def connect(
        self,
        run_id: str | None = None,  # noqa: ARG002  # as in the class above it
    ) -> AbstractContextManager[Connection]:
        return self.pool.connected()


class PostgresStorage(DagsterStorage[DagsterInstance]):
    """Runs, events and schedules in the schema, which must be there.

    Args:
        address: URL of the database, with its password.
    """

    def __init__(self, address: str, inst_data: ConfigurableClassData | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        url = _with_options(make_url(address), search_path=SCHEMA)
        self._runs = _Runs(url, should_autocreate_tables=False, inst_data=inst_data)
        self._events = _Events(url, should_autocreate_tables=False, inst_data=inst_data)
        self._schedules = _Schedules(url, should_autocreate_tables=False, inst_data=inst_data)
        for storage in (self._runs, self._events, self._schedules):
            storage.use_pool()

    @property
    def run_storage(self) -> PostgresRunStorage:
        return self._runs

    @property
    def event_log_storage(self) -> PostgresEventLogStorage:
        return self._events

    @property
    def schedule_storage(self) -> PostgresScheduleStorage:
        return self._schedules


_lock = threading.RLock()
_made: set[str] = set()
_pools: dict[tuple[str, float], Pool] = {}


def _pool_of(address: str, patience_s: float) -> Pool:
    with _lock:
        if (address, patience_s) not in _pools:
            engine = create_engine(
                _with_options(
                    make_url(address), idle_in_transaction_session_timeout=IDLE_LIMIT_S * 1000
                ),
                isolation_level="AUTOCOMMIT",
                pool_size=KEPT_OPEN,
                max_overflow=AT_MOST - KEPT_OPEN,
                pool_recycle=RECYCLE_S,
                pool_pre_ping=True,
            )
            _pools[address, patience_s] = Pool(engine, patience_s)
        return _pools[address, patience_s]


def _make_schema(url: URL) -> None:
    """Make the schema and its tables if they are missing: whole, or not at all.

    They are made under another name, and renamed when all is there: one that was killed half-way
    leaves nothing that looks finished. Of several processes at once one makes them.
    """
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with Pool(engine, PATIENCE_S).connected() as connection:
            if _is_made(connection):
                return
            # Ends with the connection, whatever becomes of this process.
            connection.execute(
                text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": SCHEMA}
            )
            if _is_made(connection):
                return
            connection.execute(text(f"DROP SCHEMA IF EXISTS {UNFINISHED} CASCADE"))
            connection.execute(text(f"CREATE SCHEMA {UNFINISHED}"))
            DagsterPostgresStorage(_with_options(url, search_path=UNFINISHED))
            connection.execute(text(f"ALTER SCHEMA {UNFINISHED} RENAME TO {SCHEMA}"))
    except (DBAPIError, DagsterPostgresException) as error:
        raise UsageError(
            f"Dagster's records in {_without_options(url)} cannot be opened: {_one_line(error)}. "
            "Check that the server is up and PIPELINE_DATABASE_URL is right; to make the schema "
            f"{SCHEMA}, its user needs CREATE on the database."
        ) from None
    finally:
        engine.dispose()


def _is_made(connection: Connection) -> bool:
    found = connection.execute(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}).scalar()
    return found is not None


def _with_options(url: URL, **options: str | int) -> str:
    """A URL with more settings of the server for each connection; its text, with its password."""
    given = url.query.get("options", ())
    parts = [given] if isinstance(given, str) else list(given)
    parts += [f"-c{name}={value}" for name, value in options.items()]
    return url.update_query_dict({"options": " ".join(parts)}).render_as_string(hide_password=False)


def _without_options(url: URL) -> str:
    """A URL for messages: as it was given, without its password."""
    host = {name: value for name, value in url.query.items() if name == "host"}
    return url.set(query=host).render_as_string(hide_password=True)


def _is_refusal(error: OperationalError) -> bool:
    """Whether the server was there and said no: waiting brings nothing."""
    code = getattr(error.orig, "pgcode", None)
    if isinstance(code, str):
        return not (code.startswith(_PASSING_CLASS) or code in _PASSING)
    said = str(error.orig)
    return "FATAL" in said and any(words in said for words in _REFUSING)


def _one_line(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, DagsterPostgresException) else error
    said = str(getattr(cause, "orig", None) or cause or error).strip().splitlines()
    return said[0].rstrip(".") if said else type(error).__name__
