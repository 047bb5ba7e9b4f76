"""Pages that were fetched, and robots.txt files; their bodies lie in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import func, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import pages, robots
from resources.adapters.packing import pack, unpack


@dataclass(frozen=True, slots=True)
class PageRow:
    """One fetched page.

    Args:
        url: The one asked for.
        final_url: The one after redirects.
        body_hash: Of the body, unpacked.
        size_bytes: Of the body, unpacked.
        fetched_at: When it was asked for last, epoch seconds.
        body_file: Where the body lies: see `bodies.Place`. None when it is kept nowhere.
        etag: As the site gave it.
        last_modified: As the site gave it.
        changed_at: When its content was found different from before, epoch seconds.
        robots_tag: Its `X-Robots-Tag` headers, one to a line.
    """

    domain: str
    url: str
    role: str
    final_url: str
    status: int
    content_type: str | None
    body_hash: str | None
    size_bytes: int
    fetched_at: float
    body_file: str | None = None
    body_offset: int | None = None
    body_length: int | None = None
    body_encoding: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    changed_at: float | None = None
    robots_tag: str | None = None


@dataclass(frozen=True, slots=True)
class RobotsRow:
    """A host's robots.txt as fetched; status 0 stands for "could not be reached"."""

    host: str
    status: int
    body: bytes
    fetched_at: float


_COLUMNS = tuple(field.name for field in fields(PageRow))


class Pages:
    """Fetched pages by domain."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Built once: to build a statement anew costs several times what it costs to run it.
        self._save = database.upsert(pages, ["domain", "url"])

    def save_many(self, rows: Sequence[PageRow]) -> None:
        """Keep pages' rows; their bodies must be in the store already."""
        with self._database.write() as connection:
            connection.execute(
                self._save, [{name: getattr(row, name) for name in _COLUMNS} for row in rows]
            )

    def of_domain(self, domain: str, fetched_after: float = 0.0) -> dict[str, PageRow]:
        """Pages of a domain by the URL asked for."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(pages).where(pages.c.domain == domain, pages.c.fetched_at >= fetched_after)
            ).all()
        return {row.url: PageRow(**row._mapping) for row in rows}

    def count_since(self, since: float) -> int:
        """Pages fetched since a time (epoch seconds)."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(pages).where(pages.c.fetched_at >= since)
            return int(connection.execute(query).scalar_one())

    def robots_of(self, host: str, fetched_after: float) -> RobotsRow | None:
        """A host's robots.txt, if it is fresh enough."""
        with self._database.read() as connection:
            row = connection.execute(
                select(robots).where(robots.c.host == host, robots.c.fetched_at >= fetched_after)
            ).first()
        if row is None:
            return None
        return RobotsRow(row.host, row.status, unpack(row.body), row.fetched_at)

    def save_robots(self, row: RobotsRow) -> None:
        """Keep a host's robots.txt."""
        with self._database.write() as connection:
            connection.execute(
                self._database.upsert(robots, ["host"]).values(
                    host=row.host,
                    status=row.status,
                    body=pack(row.body),
                    fetched_at=row.fetched_at,
                )
            )
