"""Holds the normalised rows of a list between reading it and writing it to the ledger, on disk.

A private SQLite file (`scratch`). It finds duplicates, so that a list may be longer than memory;
the first row of a domain counts, and the names of the others are kept with it. Not here: what a row
means.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from resources.adapters import scratch
from resources.adapters.ledger.lists import NewMember, Rejected

MOST_OTHER_NAMES = 10
ROWS_AT_A_TIME = 2_000

# Nothing has to outlive the process: one transaction that is never committed, and no journal.
_PREPARE = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -16384;
CREATE TABLE members (
    number INTEGER PRIMARY KEY, domain TEXT NOT NULL UNIQUE, line INTEGER NOT NULL, name TEXT,
    country TEXT, attributes TEXT NOT NULL, other_names TEXT NOT NULL DEFAULT '[]',
    is_known INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE rejected (
    number INTEGER PRIMARY KEY, line INTEGER NOT NULL, raw TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL
);
BEGIN;
"""
_ADD = (
    "INSERT INTO members (domain, line, name, country, attributes) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (domain) DO NOTHING"
)
_DOMAINS = "SELECT number, domain FROM members WHERE number > ? ORDER BY number LIMIT ?"
_REJECT = "INSERT INTO rejected (line, raw, reason, detail) VALUES (?, ?, ?, ?)"


class SpoolError(Exception):
    """There is no space for the rows of a list; the message says where."""


class ListSpool:
    """Rows of one list, in their order.

    Args:
        folder: Where they are kept; see `scratch.private_path`.

    Attributes:
        reasons: How many rows were rejected, by reason.
        close: Gives the space back; else the end of this object does.

    Raises: `SpoolError` from every call when the disk is full or fails.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.reasons: Counter[str] = Counter()
        self._folder = folder
        self._database = self._private_database()
        self.close = weakref.finalize(self, self._database.close)

    def add(
        self,
        domain: str,
        line: int,
        name: str | None,
        country: str | None,
        attributes: Mapping[str, str],
    ) -> bool:
        """Keep the row of a domain. Returns False, and keeps its name alone, for a duplicate."""
        row = (domain, line, name, country, orjson.dumps(attributes).decode())
        try:
            if self._database.execute(_ADD, row).rowcount == 1:
                return True
            if name:
                self._keep_name(domain, name)
        except sqlite3.Error as error:
            raise self._no_space(error) from error
        return False

    def reject(self, row: Rejected) -> None:
        """Keep a row that holds no domain."""
        self.reasons[row.reason] += 1
        try:
            self._database.execute(_REJECT, (row.line, row.raw, row.reason, row.detail))
        except sqlite3.Error as error:
            raise self._no_space(error) from error

    def _keep_name(self, domain: str, name: str) -> None:
        """A duplicate's other name is a hint: the company may be known by it."""
        first, others = self._database.execute(
            "SELECT name, other_names FROM members WHERE domain = ?", (domain,)
        ).fetchone()
        names = orjson.loads(others)
        if name != first and name not in names and len(names) < MOST_OTHER_NAMES:
            self._database.execute(
                "UPDATE members SET other_names = ? WHERE domain = ?",
                (orjson.dumps([*names, name]).decode(), domain),
            )

    def domains(self) -> Iterator[list[str]]:
        """Yield the domains in their order, in parts."""
        last = 0
        with self._told():
            while rows := self._database.execute(_DOMAINS, (last, ROWS_AT_A_TIME)).fetchall():
                yield [domain for _, domain in rows]
                last = rows[-1][0]

    def lacks(self, domains: Collection[str]) -> list[str]:
        """Return those of the domains that no row has."""
        query = "SELECT 1 FROM members WHERE domain = ?"
        with self._told():
            return [
                domain
                for domain in domains
                if self._database.execute(query, (domain,)).fetchone() is None
            ]

    def leave_out(self, known_among: Callable[[list[str]], Collection[str]]) -> None:
        """Let `members` leave out those that somebody knows, who is asked in parts."""
        with self._told():
            self._database.execute("UPDATE members SET is_known = 0 WHERE is_known")
            for part in self.domains():
                self._database.executemany(
                    "UPDATE members SET is_known = 1 WHERE domain = ?",
                    [(domain,) for domain in known_among(part)],
                )

    def new_count(self) -> int:
        """How many `members` are."""
        with self._told():
            query = "SELECT count(*) FROM members WHERE NOT is_known"
            return int(self._database.execute(query).fetchone()[0])

    def members(self) -> Iterator[NewMember]:
        """Yield the first row of each domain, with the names of its duplicates."""
        with self._told():
            for row in self._database.execute(
                "SELECT domain, line, name, country, attributes, other_names FROM members "
                "WHERE NOT is_known ORDER BY number"
            ):
                yield NewMember(*row)

    def companies(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield domain, name and country of the first row of each domain."""
        with self._told():
            yield from self._database.execute(
                "SELECT domain, name, country FROM members ORDER BY number"
            )

    def rejected(self) -> Iterator[Rejected]:
        """Yield the rows without a domain."""
        with self._told():
            for row in self._database.execute(
                "SELECT line, raw, reason, detail FROM rejected ORDER BY number"
            ):
                yield Rejected(*row)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._no_space(error) from error

    def _private_database(self) -> sqlite3.Connection:
        try:
            with scratch.private_path(self._folder, "pipeline-list-") as path:
                database = sqlite3.connect(path, isolation_level=None)
                database.executescript(_PREPARE)
        except (OSError, sqlite3.Error) as error:
            raise self._no_space(error) from error
        return database

    def _no_space(self, error: Exception) -> SpoolError:
        where = "TMPDIR" if self._folder is None else "PIPELINE_HOME"
        return SpoolError(
            f"The rows of the list could not be kept in {scratch.shown(self._folder)} while it is "
            f"read ({' '.join(str(error).split())}); free space there, or set {where} to a folder "
            "with more."
        )
