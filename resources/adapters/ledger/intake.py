"""Writes the rows of one ingest within a transaction that is open: batches, members, work, rejects.

Rows come one by one and are written in parts, so that a list may be longer than memory. Which of
them are in a transaction is decided in `lists.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, func, insert, literal, select, update
from sqlalchemy.dialects import sqlite

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import batches, members, rejected_rows, work
from resources.core.batches import MAX_BATCHES, batch_key
from resources.core.errors import UsageError
from resources.core.models import Phase, State

ROWS_PER_STATEMENT = 2_000
# About a second on SQLite, which has one writer at a time.
ROWS_PER_TRANSACTION = 20_000

_SQLITE_INSERT = str(insert(members).compile(dialect=sqlite.dialect(paramstyle="named")))

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class NewMember:
    """A domain of a list that is not in it yet.

    Attributes:
        attributes: What else its row says, by column: a JSON object of texts.
        other_names: What its duplicates are called: a JSON array of texts.
    """

    domain: str
    line: int
    name: str | None = None
    country: str | None = None
    attributes: str = "{}"
    other_names: str = "[]"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that holds no usable domain."""

    line: int
    raw: str
    reason: str
    detail: str


class Intake:
    """One ingest of a list that is locked.

    Args:
        connection: With the open transaction.
        list_id: Of the list.
        list_name: Of the list, for the keys of its batches.
        batch_size: Domains per batch; the last may have fewer.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        connection: Connection,
        list_id: int,
        list_name: str,
        batch_size: int,
        now: float,
    ) -> None:
        self._database = database
        self._connection = connection
        self._list_id = list_id
        self._list_name = list_name
        self._batch_size = batch_size
        self._now = now
        last = connection.execute(
            select(func.max(batches.c.number)).where(batches.c.list_id == list_id)
        ).scalar_one()
        self._earlier: int = last or 0
        self._added = 0
        self.keys: list[str] = []

    @property
    def added(self) -> int:
        """How many members were written."""
        return self._added

    def require_room(self, more: int) -> None:
        """Refuse members that will not fit, before the first of them is written.

        Raises:
            UsageError: The list would have too many batches.
        """
        if self._earlier + -(-more // self._batch_size) > MAX_BATCHES:
            raise self._too_many()

    def _too_many(self) -> UsageError:
        return UsageError(
            f"The list {self._list_name!r} would have more than {MAX_BATCHES:,} batches; "
            "take it in with a larger --batch-size, or split it into several lists."
        )

    def add_members(self, new: Iterable[NewMember]) -> None:
        """Write new batches, in order; members of the list are left out.

        Raises:
            UsageError: The list would have too many batches.
        """
        for part in in_parts(new):
            fresh = self._without_known(part) if self._earlier else part
            if fresh:
                self._begin_batches(len(fresh))
                self._insert_members(fresh)
        if self._added:
            self._set_last_size()
            self._add_work()

    def replace_rejected(self, rejected: Iterable[Rejected]) -> int:
        """Keep the rejected rows of this file instead of the last one's. Returns how many."""
        self._connection.execute(
            rejected_rows.delete().where(rejected_rows.c.list_id == self._list_id)
        )
        count = 0
        for part in in_parts(rejected):
            rows = [
                {
                    "list_id": self._list_id,
                    "line": row.line,
                    "raw": row.raw,
                    "reason": row.reason,
                    "detail": row.detail,
                }
                for row in part
            ]
            self._connection.execute(insert(rejected_rows), rows)
            count += len(part)
        return count

    def _without_known(self, part: list[NewMember]) -> list[NewMember]:
        found = self._connection.execute(
            select(members.c.domain).where(
                members.c.list_id == self._list_id,
                members.c.domain.in_([each.domain for each in part]),
            )
        )
        known = set(found.scalars())
        return [each for each in part if each.domain not in known]

    def _begin_batches(self, more: int) -> None:
        """Write the batches in which the next members will be, as if each became full."""
        needed = -(-(self._added + more) // self._batch_size)
        rows = []
        for number in range(self._earlier + len(self.keys) + 1, self._earlier + needed + 1):
            if number > MAX_BATCHES:
                raise self._too_many()
            key = batch_key(self._list_name, number)
            self.keys.append(key)
            rows.append(
                {
                    "key": key,
                    "list_id": self._list_id,
                    "number": number,
                    "size": self._batch_size,
                    "created_at": self._now,
                }
            )
        if rows:
            self._connection.execute(insert(batches), rows)

    def _set_last_size(self) -> None:
        size = self._added - (len(self.keys) - 1) * self._batch_size
        self._connection.execute(
            update(batches).where(batches.c.key == self.keys[-1]).values(size=size)
        )

    def _insert_members(self, fresh: list[NewMember]) -> None:
        rows = [self._member_row(place, each) for place, each in enumerate(fresh, self._added)]
        if self._database.is_sqlite:
            # SQLAlchemy's work on each value would double the time that nobody else can write.
            self._connection.exec_driver_sql(_SQLITE_INSERT, rows)
        else:
            self._connection.execute(insert(members), rows)
        self._added += len(fresh)

    def _member_row(self, place: int, member: NewMember) -> dict[str, object]:
        return {
            "list_id": self._list_id,
            "domain": member.domain,
            "batch_key": self.keys[place // self._batch_size],
            "position": place % self._batch_size,
            "line": member.line,
            "name": member.name and member.name.replace("\x00", ""),
            "country": member.country,
            "other_names": member.other_names,
            "attributes": member.attributes,
        }

    def _add_work(self) -> None:
        """Make the new members' domains pending in every phase, unless another list has them."""
        for phase in Phase:
            mine = (
                select(
                    literal(phase.value),
                    members.c.domain,
                    literal(State.PENDING.value),
                    literal(self._now),
                )
                .join(batches, batches.c.key == members.c.batch_key)
                .where(batches.c.list_id == self._list_id, batches.c.number > self._earlier)
                # In the order of the key: a million at random places would rewrite it many times.
                .order_by(members.c.domain)
            )
            columns = ["phase", "domain", "state", "updated_at"]
            self._connection.execute(self._database.insert_ignore(work).from_select(columns, mine))


def in_parts(rows: Iterable[Row], most: int = ROWS_PER_STATEMENT) -> Iterator[list[Row]]:
    """Yield the rows in lists that are as long as one statement may be."""
    left = iter(rows)
    while part := list(islice(left, most)):
        yield part
