"""Ledgers to test on: a new one on SQLite or PostgreSQL, and lists to fill it with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.lists import IngestReport, NewMember, Rejected
from resources.adapters.ledger.schema import metadata
from tests.support.postgres import postgres
from tests.support.time import NOW

LEASE_S = 60.0
CODE = "1"


def open_at(url: str, lease_s: float = LEASE_S) -> Ledger:
    """A migrated ledger."""
    ledger = Ledger(Database(url), lease_s)
    ledger.database.migrate()
    return ledger


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


def add_list(
    ledger: Ledger,
    name: str,
    domains: Sequence[str],
    *,
    batch_size: int = 50,
    now: float = NOW,
    rejected: Sequence[Rejected] = (),
    digest: str = "d1",
) -> IngestReport:
    """Take in a list of domains that are all new to it."""
    members = [NewMember(domain, line) for line, domain in enumerate(domains, 2)]
    return ledger.lists.add(
        name,
        source=f"{name}.csv",
        digest=digest,
        rows=len(domains) + len(rejected),
        accepted=len(domains),
        duplicates=0,
        new=members,
        rejected=rejected,
        batch_size=batch_size,
        now=now,
    )


def empty(ledger: Ledger) -> None:
    """Take everything out of a PostgreSQL ledger; far quicker than a new database each time."""
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    with ledger.database.write() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own (without a database name), ended afterwards."""
    with postgres() as server:
        yield server.url("{}")


@contextmanager
def new_database(server: str, name: str) -> Iterator[str]:
    """A new database on a server; its URL."""
    admin = Database(server.format("postgres"))
    name = f"{name}_{os.getpid()}"
    try:
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
            yield server.format(name)
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    finally:
        admin.close()
