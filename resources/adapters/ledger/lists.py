"""Lists, batches and their members: written once when a list is taken in, never changed after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import orjson
from sqlalchemy import Connection, func, insert, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import batches, ingests, lists, members, rejected_rows, work
from resources.core.batches import batch_key
from resources.core.models import Phase, State

ROWS_PER_STATEMENT = 2_000


@dataclass(slots=True)
class NewMember:
    """A domain of a list that is not in it yet."""

    domain: str
    line: int
    name: str | None
    country: str | None
    attributes: Mapping[str, str]
    other_names: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that holds no usable domain."""

    line: int
    raw: str
    reason: str
    detail: str


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

    def known_domains(self, list_name: str) -> set[str]:
        """All domains of a list; empty when there is no such list."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(members.c.domain)
                .join(lists, lists.c.id == members.c.list_id)
                .where(lists.c.name == list_name)
            )
            return set(rows.scalars())

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
        new: Sequence[NewMember],
        rejected: Iterable[Rejected],
        batch_size: int,
        now: float,
    ) -> IngestReport:
        """Write an ingest in one transaction: all of it is there afterwards, or nothing.

        Members that another process has added meanwhile are left out.
        """
        with self._database.write() as connection:
            self._database.lock(connection, "lists")
            list_id = self._list_id(connection, list_name, now)
            known = self.known_domains(list_name) if new else set()
            new = [member for member in new if member.domain not in known]
            keys = self._add_batches(connection, list_id, list_name, new, batch_size, now)
            rejections = self._replace_rejected(connection, list_id, rejected)
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
                    added=len(new),
                )
            )
        return IngestReport(
            list_name, rows, accepted, duplicates, rejections, len(new), tuple(keys)
        )

    def _list_id(self, connection: Connection, name: str, now: float) -> int:
        connection.execute(self._database.insert_ignore(lists).values(name=name, created_at=now))
        return int(connection.execute(select(lists.c.id).where(lists.c.name == name)).scalar_one())

    def _add_batches(
        self,
        connection: Connection,
        list_id: int,
        list_name: str,
        new: Sequence[NewMember],
        batch_size: int,
        now: float,
    ) -> list[str]:
        last = connection.execute(
            select(func.max(batches.c.number)).where(batches.c.list_id == list_id)
        ).scalar_one()
        number = (last or 0) + 1
        keys = []
        for start in range(0, len(new), batch_size):
            part = new[start : start + batch_size]
            key = batch_key(list_name, number)
            connection.execute(
                insert(batches).values(
                    key=key, list_id=list_id, number=number, size=len(part), created_at=now
                )
            )
            connection.execute(
                insert(members),
                [_member_row(list_id, key, place, member) for place, member in enumerate(part)],
            )
            rows = [
                {"phase": phase, "domain": member.domain, "state": State.PENDING, "updated_at": now}
                for phase in Phase
                for member in part
            ]
            connection.execute(self._database.insert_ignore(work), rows)
            keys.append(key)
            number += 1
        return keys

    def _replace_rejected(
        self, connection: Connection, list_id: int, rejected: Iterable[Rejected]
    ) -> int:
        connection.execute(rejected_rows.delete().where(rejected_rows.c.list_id == list_id))
        count = 0
        rows = iter(rejected)
        while part := list(islice(rows, ROWS_PER_STATEMENT)):
            connection.execute(
                insert(rejected_rows),
                [
                    {
                        "list_id": list_id,
                        "line": row.line,
                        "raw": row.raw,
                        "reason": row.reason,
                        "detail": row.detail,
                    }
                    for row in part
                ],
            )
            count += len(part)
        return count

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

    def mark_requested(self, keys: Sequence[str], now: float) -> None:
        """Note that somebody wants these batches done."""
        with self._database.write() as connection:
            for start in range(0, len(keys), ROWS_PER_STATEMENT):
                part = keys[start : start + ROWS_PER_STATEMENT]
                connection.execute(
                    update(batches)
                    .where(batches.c.key.in_(part), batches.c.requested_at.is_(None))
                    .values(requested_at=now)
                )


def _member_row(list_id: int, key: str, place: int, member: NewMember) -> dict[str, object]:
    return {
        "list_id": list_id,
        "domain": member.domain,
        "batch_key": key,
        "position": place,
        "line": member.line,
        "name": member.name,
        "country": member.country,
        "other_names": orjson.dumps(member.other_names).decode(),
        "attributes": orjson.dumps(member.attributes).decode(),
    }
