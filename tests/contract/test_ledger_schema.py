"""Opening a ledger: its schema, its one internet, and what is said when it cannot be opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from resources.adapters.ledger import open_ledger
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import metadata
from resources.core.config import load_settings
from resources.core.errors import UsageError
from tests.support.requirements import ROOT

MIGRATE = """
import sys
from resources.adapters.ledger.database import Database
sys.stdin.readline()
database = Database(sys.argv[1])
database.migrate()
database.close()
print("done")
"""


def test_the_migrations_make_the_tables_that_the_code_uses(fresh_url: str) -> None:
    database = Database(fresh_url)
    database.migrate()
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_migrating_twice_changes_nothing(fresh_url: str) -> None:
    for _ in range(2):
        database = Database(fresh_url)
        database.migrate()
        database.migrate()
        with database.read() as connection:
            rows = connection.execute(text("SELECT version_num FROM alembic_version")).all()
        database.close()
        assert len(rows) == 1


def test_processes_that_open_a_new_ledger_at_the_same_moment_all_succeed(fresh_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, fresh_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == ["done"] * 2, [err for _, err in answers]


def test_a_ledger_of_a_newer_program_is_left_alone(fresh_url: str) -> None:
    database = Database(fresh_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="newer version"):
        database.migrate()
    database.close()


def test_a_ledger_holds_facts_of_one_internet_for_ever(ledger: Ledger, second: Ledger) -> None:
    ledger.bind_internet("live")
    second.bind_internet("live")
    with pytest.raises(UsageError, match="never mixed"):
        second.bind_internet("connect_to")
    ledger.bind_internet("live")


def test_an_open_transaction_is_joined_and_seen_by_its_own_reads(
    ledger: Ledger, second: Ledger
) -> None:
    def spoilt() -> None:
        with ledger.database.write():
            ledger.bind_internet("live")
            with ledger.database.read() as connection:
                assert connection.execute(text("SELECT count(*) FROM meta")).scalar_one() == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        spoilt()
    second.bind_internet("connect_to")  # the other one was never committed


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/home"):
        open_ledger(load_settings(home=tmp_path / "file" / "home"))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is a text, and long enough to be taken for a page")
    with pytest.raises(UsageError, match=r"ledger\.db"):
        open_ledger(load_settings(home=tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "nosuchdatabase://me:sup3r-s3cret@db/x",
        "postgresql+nosuchdriver://me:sup3r-s3cret@db/x",
        "postgresql+psycopg2://me:sup3r-s3cret@127.0.0.1:1/x",
    ],
)
def test_a_database_that_cannot_be_reached_is_a_usage_error_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="PIPELINE_DATABASE_URL") as caught:
        open_ledger(load_settings(database_url=url))
    assert "sup3r-s3cret" not in str(caught.value)
