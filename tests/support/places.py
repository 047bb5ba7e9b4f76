"""Where several workers keep what they share: in memory, or each with a ledger of its own on one
database. Contract tests and state machines run in all of these places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import delete, select
from zstandard import decompress

from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import metadata, results, work
from resources.adapters.work_queue import LedgerWorkQueue
from resources.core.models import Phase, State
from resources.core.ports import BreakerBook, Clock, PaceBook, WorkQueue
from tests.support.fakes import MemoryBreakers, MemoryPaces
from tests.support.ledgers import CODE, LEASE_S, add_list, open_at
from tests.support.memory_work import MemoryWork, Row

PROCESSES = 3
PHASE = Phase.PAGE_SCRAPING


class SharedWork(Protocol):
    """The work of a phase, and what happens to it beside what its workers do."""

    def begin(self, name: str) -> WorkQueue:
        """Let a worker begin."""
        ...

    def bury_dead(self) -> None:
        """Declare all workers dead whose lease has run out."""
        ...

    def make_due(self, batch_keys: Sequence[str]) -> None:
        """Let waiting domains be tried at once, but for waits that the other side asked for."""
        ...

    def refresh(self, batch_keys: Sequence[str]) -> int:
        """Let everything that is settled be worked on again. Returns how many were not yet."""
        ...

    def close(self) -> None: ...


class Place:
    """One place; what it hands out is empty each time.

    Args:
        ledgers: One a process, all on the same database; none for memory.
    """

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self.ledgers = ledgers

    def breakers(self) -> list[BreakerBook]:
        """The one book of breakers, as each process sees it."""
        self._empty()
        return [one.breakers for one in self.ledgers] or [MemoryBreakers()] * PROCESSES

    def paces(self) -> list[PaceBook]:
        """The one book of paces, as each process sees it."""
        self._empty()
        return [one.paces for one in self.ledgers] or [MemoryPaces()] * PROCESSES

    def work(self, lists: Mapping[str, Sequence[str]], batch_size: int, clock: Clock) -> SharedWork:
        """Work on lists of domains."""
        self._empty()
        if not self.ledgers:
            return MemoryWork(_batches(lists, batch_size), clock, LEASE_S)
        for name, domains in lists.items():
            add_list(self.ledgers[0], name, domains, batch_size=batch_size)
        return LedgerWork(self.ledgers, clock)

    def _empty(self) -> None:
        for ledger in self.ledgers[:1]:
            with ledger.database.write() as connection:
                for table in reversed(metadata.sorted_tables):
                    connection.execute(delete(table))


@contextmanager
def place_at(url: str) -> Iterator[Place]:
    """A place on a database."""
    ledgers = [open_at(url) for _ in range(PROCESSES)]
    try:
        yield Place(ledgers)
    finally:
        for ledger in ledgers:
            ledger.close()


@dataclass
class LedgerWork:
    """`SharedWork` on a database; the workers take turns among its connections."""

    ledgers: Sequence[Ledger]
    clock: Clock
    names: dict[str, str] = field(default_factory=dict)
    _commits: list[CommitQueue] = field(default_factory=list)

    def begin(self, name: str) -> WorkQueue:
        ledger = self.ledgers[len(self.names) % len(self.ledgers)]
        worker_id = ledger.workers.begin(PHASE, name, self.clock.now())
        self.names[worker_id] = name
        commits = CommitQueue(ledger.database, 50, worker_id, self.clock)
        self._commits.append(commits)
        return LedgerWorkQueue(ledger, commits, self.clock, PHASE, worker_id, CODE)

    def bury_dead(self) -> None:
        self.ledgers[0].workers.bury_dead(self.clock.now())

    def make_due(self, batch_keys: Sequence[str]) -> None:
        self.ledgers[0].work.make_due(PHASE, batch_keys)

    def refresh(self, batch_keys: Sequence[str]) -> int:
        now = self.clock.now()
        return self.ledgers[0].work.expire(PHASE, batch_keys, now + 1, now)

    def close(self) -> None:
        for commits in self._commits:
            commits.close()


def rows_of(shared: SharedWork) -> dict[str, Row]:
    """How every domain stands; holders by the names that workers began with."""
    if isinstance(shared, MemoryWork):
        return shared.rows
    assert isinstance(shared, LedgerWork)
    ledger = shared.ledgers[0]
    with ledger.database.read() as connection:
        found = connection.execute(select(work).where(work.c.phase == PHASE)).all()
        kept = select(results.c.domain, results.c.payload).where(results.c.phase == PHASE)
        payloads = {row.domain: decompress(row.payload) for row in connection.execute(kept)}
    return {row.domain: _row_of(row, shared.names, payloads.get(row.domain)) for row in found}


def _row_of(row, names: Mapping[str, str], payload: bytes | None) -> Row:
    return Row(
        state=State(row.state),
        kind=row.kind,
        reason=row.reason,
        payload=payload,
        rounds=row.rounds,
        not_before=row.not_before,
        asked_to_wait_until=row.asked_to_wait_until,
        deaths=row.deaths,
        deaths_alone=row.deaths_alone,
        holder=names[row.claimed_by] if row.claimed_by else None,
        is_held_alone=bool(row.claimed_alone),
        revision=row.revision,
        refresh_asked=bool(row.refresh_asked),
        settled_at=row.settled_at or 0.0,
    )


def _batches(lists: Mapping[str, Sequence[str]], size: int) -> dict[str, list[str]]:
    return {
        f"{name}-{number + 1:05d}": list(domains[number * size : (number + 1) * size])
        for name, domains in lists.items()
        for number in range(-(-len(domains) // size))
    }
