"""Dagster's records beside the ledger: on PostgreSQL in a schema of their own, else SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from pipeline_assets.dagster_storage import PipelineStorage
from pipeline_assets.postgres_storage import (
    KEPT_OPEN,
    PAUSE_S,
    SCHEMA,
    UNFINISHED,
    Outage,
    Pool,
    _is_refusal,
    open_storage,
)
from resources.adapters.database_url import read_url
from resources.adapters.ledger.database import Database
from resources.core.errors import UsageError
from tests.support.ledgers import new_database, open_at
from tests.support.postgres import PostgresServer, postgres
from tests.support.processes import environment
from tests.support.requirements import ROOT

PASSWORD = "correct-horse"
_numbers = count()
OPEN = """
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    print(type(instance.run_storage).__name__, instance.get_runs_count())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as one:
        yield one


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    """The URL of a database without any table, with a password in it.

    Each has a name of its own: a process remembers where it has made the tables.
    """
    with new_database(server.url("{}", PASSWORD), f"records_{next(_numbers)}") as one:
        yield one


def _home(tmp_path: Path, **settings: str) -> Mapping[str, str]:
    (tmp_path / "home").mkdir()
    return environment(tmp_path / "home", DAGSTER_HOME=str(ROOT), **settings)


def _tables(url: str) -> set[tuple[str, str]]:
    database = Database(url)
    try:
        with database.read() as connection:
            rows = connection.execute(
                text(
                    "SELECT table_schema, table_name FROM information_schema.tables "
                    "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
                )
            )
            return {(str(schema), str(name)) for schema, name in rows}
    finally:
        database.close()


def test_several_processes_at_once_make_the_tables_once(tmp_path: Path, url: str) -> None:
    variables = _home(tmp_path, PIPELINE_DATABASE_URL=url)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN],
            env=variables,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert {schema for schema, _ in _tables(url)} == {SCHEMA}
    assert list((tmp_path / "home").iterdir()) == []


def test_ledger_and_dagster_have_tables_of_the_same_name_side_by_side(url: str) -> None:
    open_storage(read_url(url))
    open_at(url).close()
    tables = _tables(url)
    assert {("public", "alembic_version"), (SCHEMA, "alembic_version")} <= tables
    assert {("public", "work"), (SCHEMA, "event_logs"), (SCHEMA, "job_ticks")} <= tables
    assert ("public", "event_logs") not in tables


def test_what_was_killed_while_it_made_the_tables_is_no_obstacle(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(text(f"CREATE SCHEMA {UNFINISHED}"))
        connection.execute(text(f"CREATE TABLE {UNFINISHED}.runs (id int)"))
    database.close()
    storage = open_storage(read_url(url))
    assert storage.run_storage.get_runs_count() == 0
    assert {schema for schema, _ in _tables(url)} == {SCHEMA}


def test_all_instances_of_a_process_share_one_small_pool(url: str) -> None:
    storages = [open_storage(read_url(url)) for _ in range(10)]
    for storage in storages:
        storage.run_storage.get_runs_count()
        storage.event_log_storage.get_maximum_record_id()
        storage.schedule_storage.all_instigator_state()
    database = Database(url)
    with database.read() as connection:
        found = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE '%Dagster%'"
            )
        ).scalar_one()
    database.close()
    assert 1 <= found <= KEPT_OPEN


def test_the_password_is_not_in_what_dagster_shows_or_passes_on(tmp_path: Path, url: str) -> None:
    variables = _home(tmp_path, PIPELINE_DATABASE_URL=url)
    show = "from dagster._serdes import serialize_value\nprint(serialize_value(instance.get_ref()))"
    program = OPEN + "    " + show.replace("\n", "\n    ")
    for command in (["-m", "dagster", "instance", "info"], ["-c", program]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *command],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "PipelineStorage" in done.stdout
        assert PASSWORD not in done.stdout + done.stderr


def test_a_database_that_is_not_there_is_one_sentence_at_once(server: PostgresServer) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage(read_url(server.url("nowhere", PASSWORD)))
    said = str(caught.value)
    assert said.startswith("Dagster's records in postgresql+psycopg2://postgres:***@/nowhere")
    assert 'database "nowhere" does not exist' in said
    assert PASSWORD not in said
    assert "\n" not in said


def test_without_postgresql_the_records_are_sqlite_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIPELINE_DATABASE_URL", raising=False)
    for url in (None, f"sqlite:///{tmp_path / 'elsewhere.db'}"):
        if url is not None:
            monkeypatch.setenv("PIPELINE_DATABASE_URL", url)
        storage = PipelineStorage.from_config_value(None, {})  # type: ignore[arg-type]
        assert isinstance(storage, DagsterSqliteStorage)
        assert storage.base_dir == str(tmp_path / "home")


# -- a server that is restarted -------------------------------------------------------------------


def test_an_outage_is_waited_for_once_and_not_with_each_connection() -> None:
    outage = Outage(patience_s=30.0)
    assert outage.is_new(100.0)
    assert not outage.is_new(101.0)
    assert outage.is_worth_waiting(129.9)
    assert not outage.is_worth_waiting(130.0)
    assert not outage.is_worth_waiting(500.0)
    outage.end()
    assert outage.is_new(600.0)
    assert outage.is_worth_waiting(629.0)


@pytest.mark.parametrize(
    ("code", "said", "is_refused"),
    [
        (None, "FATAL:  the database system is not yet accepting connections", False),
        (None, "FATAL:  the database system is not accepting connections", False),
        (None, "FATAL:  terminating connection due to administrator command", False),
        (None, "FATAL:  sorry, too many clients already", False),
        (None, "FATAL:  das Datenbanksystem startet", False),
        (None, "could not connect: Connection refused", False),
        (None, 'FATAL:  password authentication failed for user "x"', True),
        (None, 'FATAL:  database "x" does not exist', True),
        ("57P01", "terminating connection", False),
        ("57P02", "crash shutdown", False),
        ("57P03", "cannot connect now", False),
        ("08006", "connection failure", False),
        ("53300", "too many connections", False),
        ("28P01", "invalid password", True),
        ("42501", "insufficient privilege", True),
    ],
)
def test_only_what_the_server_means_to_stay_so_is_not_waited_for(
    code: str | None, said: str, is_refused: bool
) -> None:
    class Said(Exception):
        pgcode = code

    assert _is_refusal(OperationalError("", {}, Said(said))) is is_refused


class Waits:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.then = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.count += 1
        self.then()


@pytest.fixture
def restarted() -> Iterator[PostgresServer]:
    """A server of its own: others would notice that it goes."""
    with postgres() as one:
        yield one


def test_a_restarted_server_is_waited_for_and_one_that_stays_away_is_not(
    restarted: PostgresServer,
) -> None:
    waits = Waits()
    engine = create_engine(restarted.url("postgres"), pool_pre_ping=True)
    pool = Pool(engine, 30.0, waits.clock, waits.sleep)

    def answer() -> int:
        with pool.connected() as connection:
            return int(connection.execute(text("SELECT 1")).scalar_one())

    assert answer() == 1
    restarted.stop()
    waits.then = restarted.start
    assert answer() == 1
    assert waits.count == 1

    waits.then, waits.count = lambda: None, 0
    restarted.stop()
    with pytest.raises(OperationalError):
        answer()
    assert waits.count == pytest.approx(30.0 / PAUSE_S, abs=1)
    with pytest.raises(OperationalError):
        answer()
    assert waits.count == pytest.approx(30.0 / PAUSE_S, abs=1)
    restarted.start()
    assert answer() == 1
    engine.dispose()


def test_dagsters_storage_outlives_a_restart_of_its_server(restarted: PostgresServer) -> None:
    storage = open_storage(read_url(restarted.url("postgres")))
    with DagsterInstance.ephemeral() as instance:
        storage.event_log_storage.register_instance(instance)
        storage.event_log_storage.add_dynamic_partitions("batches", ["a", "b"])
        storage.run_storage.optimize_for_webserver(15_000, 3600, 20)
        assert storage.run_storage.get_runs_count() == 0
        restarted.stop()
        restarted.start()
        assert storage.run_storage.get_runs_count() == 0
        assert storage.event_log_storage.get_dynamic_partitions("batches") == ["a", "b"]
