"""The ledger of a home, read from outside, on SQLite or PostgreSQL.

Reads only, and holds no connection between two questions: what it looks at is being killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import NullPool, create_engine, text

from tests.campaigns.checks import FETCHING, PHASES

IS_OPEN = "state in ('pending', 'waiting')"
_IS_FETCHING = "phase in ('COMPANY_ENRICHMENT', 'PAGE_SCRAPING')"
# What is written about a domain or a batch, with the column that names it.
_TABLES = {
    **dict.fromkeys(("work", "results", "events", "answers", "pages"), "domain like :of"),
    "artifacts": "batch_key between :first and :last",
}


@dataclass(frozen=True)
class Lane:
    """The part of a list that one case has for itself.

    Args:
        prefix: What its domains' names begin with, and nobody else's.
        keys: Its batches, in order, all neighbours.
        quarantined: (phase, domain) that must end in quarantine.
    """

    prefix: str
    domains: Sequence[str]
    keys: Sequence[str] = ()
    quarantined: frozenset[tuple[str, str]] = field(default_factory=frozenset)


@dataclass(frozen=True)
class WorkerSeen:
    """A worker that has domains in hand."""

    pid: int
    run_id: str
    beat_at: float


class Records:
    """What the ledger and the store of a home hold."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        self._store = home / "store"
        ledger = f"sqlite:///file:{home / 'ledger.db'}?mode=ro&uri=true"
        arguments: dict[str, Any] = {} if url else {"timeout": 30}
        self._engine = create_engine(url or ledger, poolclass=NullPool, connect_args=arguments)

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """The answer to a query."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def number(self, query: str, **values: object) -> float:
        """The one number that a query answers; 0 for nothing."""
        return float(self.rows(query, **values)[0][0] or 0)

    def keys_of(self, prefix: str) -> list[str]:
        """The batches that hold domains of a lane."""
        query = "select distinct batch_key from members where domain like :of order by 1"
        return [str(key) for (key,) in self.rows(query, of=f"{prefix}-%")]

    # -- how far it is ----------------------------------------------------------------------------

    def unsettled(self, lane: Lane, phase: str | None = None) -> int:
        """Domains still to be settled, over the fetching phases or in one phase."""
        query = f"select count(*) from work where domain like :of and {IS_OPEN}"
        if phase is None:
            return int(self.number(f"{query} and {_IS_FETCHING}", of=_of(lane)))
        return int(self.number(f"{query} and phase = :phase", of=_of(lane), phase=phase))

    def settled(self, lane: Lane, phase: str | None = None) -> int:
        """Domains that are settled, over the fetching phases or in one phase."""
        total = len(lane.domains) * (1 if phase else len(FETCHING))
        return total - self.unsettled(lane, phase)

    def settled_at(self, lane: Lane) -> float | None:
        """When the last domain settled, epoch seconds; None while one is not."""
        if self.unsettled(lane):
            return None
        query = f"select max(settled_at) from work where domain like :of and {_IS_FETCHING}"
        return self.number(query, of=_of(lane))

    def worker(self, lane: Lane, phase: str) -> WorkerSeen | None:
        """Who has domains of the lane in hand."""
        query = """select w.pid, w.run_id, w.beat_at from work join workers w
                   on w.id = work.claimed_by and w.ended_at is null
                   where work.domain like :of and work.phase = :phase limit 1"""
        found = self.rows(query, of=_of(lane), phase=phase)
        return WorkerSeen(*found[0]) if found else None

    def beat_of(self, run_id: str) -> float:
        """The newest beat of a run's worker, epoch seconds."""
        return self.number("select max(beat_at) from workers where run_id = :run", run=run_id)

    def waiting_for(self, lane: Lane) -> dict[str, int]:
        """Unsettled domains of the fetching phases by what they wait for."""
        query = f"""select coalesce(kind, state), count(*) from work
                    where domain like :of and {IS_OPEN} and {_IS_FETCHING} group by 1"""
        return {str(kind): int(count) for kind, count in self.rows(query, of=_of(lane))}

    # -- what became of it ------------------------------------------------------------------------

    def states(self, lane: Lane) -> dict[tuple[str, str], str]:
        """The state of each (phase, domain)."""
        query = "select phase, domain, state from work where domain like :of"
        return {(phase, name): state for phase, name, state in self.rows(query, of=_of(lane))}

    def settlings(self, lane: Lane) -> dict[tuple[str, str], int]:
        """How often each (phase, domain) became settled, by its history."""
        query = """select phase, domain, count(*) from events where domain like :of
                   and what in ('succeeded', 'not_found', 'refused', 'quarantined') group by 1, 2"""
        return {(phase, name): int(n) for phase, name, n in self.rows(query, of=_of(lane))}

    def in_doubt(self) -> int:
        """Domains of paid calls whose answers were never stored."""
        return int(
            self.number(
                "select sum(domains) from calls where provider = 'pdl' and answered_at is null"
            )
        )

    def openings(self, endpoint: str) -> list[float]:
        """When a breaker opened, epoch seconds."""
        query = """select at from breaker_changes
                   where endpoint like :endpoint and new = 'open' order by at"""
        return [float(at) for (at,) in self.rows(query, endpoint=f"{endpoint}%")]

    def paused_until(self, endpoint: str) -> float:
        """Until when calls are paused, epoch seconds."""
        query = """select max(retry_at) from breakers
                   where endpoint like :endpoint and status <> 'closed'"""
        return self.number(query, endpoint=f"{endpoint}%")

    def everything(self, lane: Lane) -> dict[str, list[str]]:
        """Every row about the lane's domains and batches, to be compared."""
        found = {}
        for table, of_lane in _TABLES.items():
            values = {"of": _of(lane), "first": lane.keys[0], "last": lane.keys[-1]}
            mine = {name: value for name, value in values.items() if f":{name}" in of_lane}
            rows = self.rows(f"select * from {table} where {of_lane}", **mine)
            found[table] = sorted(map(repr, rows))
        return found

    def directory(self) -> set[str]:
        """The domains in the directory; none while there is none."""
        query = "select path from artifacts where asset = 'company_directory'"
        found: set[str] = set()
        for (path,) in self.rows(query):
            table = pq.read_table(self._store / path, columns=["domain"])
            found.update(table.column("domain").to_pylist())
        return found

    def line(self, lane: Lane) -> str:
        """Where the lane stands, on one line, for a person."""
        query = """select phase, state, coalesce(kind, ''), count(*) from work
                   where domain like :of group by 1, 2, 3 order by 1, 2"""
        rows = self.rows(query, of=_of(lane))
        order = {phase: number for number, phase in enumerate(PHASES)}
        rows.sort(key=lambda row: order.get(row[0], 9))
        return ", ".join(f"{phase} {state} {kind} {n}" for phase, state, kind, n in rows)


def _of(lane: Lane) -> str:
    return f"{lane.prefix}-%"
