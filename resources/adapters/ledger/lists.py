"""Lists, batches and their members: written once when a list is taken in, never changed after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, func, insert, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.intake import (
    ROWS_PER_STATEMENT,
    ROWS_PER_TRANSACTION,
    Intake,
    NewMember,
    Rejected,
    in_parts,
)
from resources.adapters.ledger.schema import batches, ingests, lists, members, rejected_rows

__all__ = ["BatchRow", "IngestReport", "Lists", "NewMember", "Rejected"]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a file's rows; accepted + duplicates + rejected = rows."""

    list_name: str
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    added: int
    batch_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch of a list."""

    key: str
    list_name: str
    number: int
    size: int
    created_at: float


class Lists:
    """Lists and their batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known_domains(self, list_name: str) -> Iterator[list[str]]:
        """All domains of a list in their order, in parts; none when there is no such list."""
        last = ""
        while True:
            with self._database.read() as connection:
                part = list(
                    connection.execute(
                        select(members.c.domain)
                        .join(lists, lists.c.id == members.c.list_id)
                        .where(lists.c.name == list_name, members.c.domain > last)
                        .order_by(members.c.domain)
                        .limit(ROWS_PER_STATEMENT)
                    ).scalars()
                )
            if not part:
                return
            yield part
            last = part[-1]

    def known_among(self, list_name: str, domains: Collection[str]) -> set[str]:
        """Those of the domains that a list holds; not more of them than one query takes."""
        with self._database.read() as connection:
            found = connection.execute(
                select(members.c.domain)
                .join(lists, lists.c.id == members.c.list_id)
                .where(lists.c.name == list_name, members.c.domain.in_(domains))
            )
            return set(found.scalars())

    def same_ingest(self, list_name: str, digest: str) -> IngestReport | None:
        """The report of the list's newest ingest, if that was of a file with this digest."""
        with self._database.read() as connection:
            row = connection.execute(
                select(ingests)
                .join(lists, lists.c.id == ingests.c.list_id)
                .where(lists.c.name == list_name)
                .order_by(ingests.c.id.desc())
                .limit(1)
            ).first()
        if row is None or row.digest != digest:
            return None
        return IngestReport(list_name, row.rows, row.accepted, row.duplicates, row.rejected, 0, ())

    def add(
        self,
        list_name: str,
        *,
        source: str,
        digest: str,
        rows: int,
        duplicates: int,
        accepted: int,
        new: Iterable[NewMember],
        rejected: Iterable[Rejected],
        batch_size: int,
        now: float,
        new_count: int | None = None,
    ) -> IngestReport:
        """Write an ingest, some whole batches in each transaction.

        In one transaction a million rows would keep all others from writing to SQLite for a minute,
        and workers lose their claims in less. What was broken off has whole batches and no ingest;
        the same file again adds the rest. Members that the list has already, another process's
        among them, are left out.

        Args:
            new_count: How many `new` are; as many as were accepted if None.

        Raises:
            UsageError: The list would have too many batches; nothing was written.
        """
        parts = in_parts(new, max(1, ROWS_PER_TRANSACTION // batch_size) * batch_size)
        part: list[NewMember] | None = next(parts, [])
        keys: list[str] = []
        added = rejections = 0
        while part is not None:
            following = next(parts, None)
            with self._database.write() as connection:
                self._database.lock(connection, "lists")
                list_id = self._list_id(connection, list_name, now)
                intake = Intake(self._database, connection, list_id, list_name, batch_size, now)
                if not keys:
                    intake.require_room(accepted if new_count is None else new_count)
                intake.add_members(part)
                added += intake.added
                if following is None:
                    rejections = intake.replace_rejected(rejected)
                    connection.execute(
                        insert(ingests).values(
                            list_id=list_id,
                            source=source,
                            digest=digest,
                            at=now,
                            rows=rows,
                            accepted=accepted,
                            duplicates=duplicates,
                            rejected=rejections,
                            added=added,
                        )
                    )
            keys += intake.keys
            part = following
        return IngestReport(list_name, rows, accepted, duplicates, rejections, added, tuple(keys))

    def _list_id(self, connection: Connection, name: str, now: float) -> int:
        connection.execute(self._database.insert_ignore(lists).values(name=name, created_at=now))
        return int(connection.execute(select(lists.c.id).where(lists.c.name == name)).scalar_one())

    def names(self) -> list[str]:
        """All lists, oldest first."""
        with self._database.read() as connection:
            return list(connection.execute(select(lists.c.name).order_by(lists.c.id)).scalars())

    def batches_of(self, list_name: str | None = None) -> list[BatchRow]:
        """Batches of one list, or of all, in order of their making."""
        query = (
            select(batches, lists.c.name.label("list_name"))
            .join(lists, lists.c.id == batches.c.list_id)
            .order_by(batches.c.created_at, batches.c.list_id, batches.c.number)
        )
        if list_name is not None:
            query = query.where(lists.c.name == list_name)
        with self._database.read() as connection:
            return [
                BatchRow(row.key, row.list_name, row.number, row.size, row.created_at)
                for row in connection.execute(query)
            ]

    def manifest(self, key: str) -> list[Mapping[str, object]]:
        """The members of a batch in order, with their hints and attributes."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(members).where(members.c.batch_key == key).order_by(members.c.position)
            ).all()
        return [
            {
                "domain": row.domain,
                "line": row.line,
                "name": row.name,
                "country": row.country,
                "other_names": orjson.loads(row.other_names),
                "attributes": orjson.loads(row.attributes),
            }
            for row in rows
        ]

    def memberships(self, domain: str) -> list[tuple[str, str]]:
        """(list, batch key) pairs that hold a domain."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(lists.c.name, members.c.batch_key)
                .join(lists, lists.c.id == members.c.list_id)
                .where(members.c.domain == domain)
                .order_by(members.c.batch_key)
            )
            return [(row.name, row.batch_key) for row in rows]

    def shared_domains(self) -> dict[str, list[str]]:
        """Domains that more than one list holds, with their batch keys."""
        shared = (
            select(members.c.domain).group_by(members.c.domain).having(func.count() > 1).subquery()
        )
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            rows = connection.execute(
                select(members.c.domain, members.c.batch_key)
                .join(shared, shared.c.domain == members.c.domain)
                .order_by(members.c.domain, members.c.batch_key)
            )
            for row in rows:
                found.setdefault(row.domain, []).append(row.batch_key)
        return found

    def rejected_of(self, list_name: str) -> list[Rejected]:
        """Rejected rows of the newest file of a list, by line."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(rejected_rows)
                .join(lists, lists.c.id == rejected_rows.c.list_id)
                .where(lists.c.name == list_name)
                .order_by(rejected_rows.c.line)
            )
            return [Rejected(row.line, row.raw, row.reason, row.detail) for row in rows]
