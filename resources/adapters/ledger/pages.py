"""Pages that were fetched, and robots.txt files; their bodies lie in the store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import pages, robots
from resources.adapters.packing import pack, unpack


@dataclass(frozen=True, slots=True)
class PageRow:
    """One fetched page. `url` is the one asked for, `final_url` the one after redirects."""

    domain: str
    url: str
    role: str
    final_url: str
    status: int
    content_type: str | None
    body_hash: str | None
    size_bytes: int
    fetched_at: float


@dataclass(frozen=True, slots=True)
class RobotsRow:
    """A host's robots.txt as fetched; status 0 stands for "could not be reached"."""

    host: str
    status: int
    body: bytes
    fetched_at: float


class Pages:
    """Fetched pages by domain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, row: PageRow) -> None:
        """Keep a page's row; its body must be in the store already."""
        with self._database.write() as connection:
            connection.execute(
                self._database.upsert(pages, ["domain", "url"]).values(
                    {name: getattr(row, name) for name in PageRow.__slots__}
                )
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
