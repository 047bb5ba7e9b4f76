"""Drivers: commands that work through their batches by themselves, one run after the other.

While one lives, nobody else need start runs for what it was asked for, also between its runs. A
driver is told apart from a later process with the same pid as a worker is (`workers`).
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Row, and_, func, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import drivers, workers
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone

# What is on another machine can't be looked at. Between two of its runs no worker beats for it, so
# that it is given time; but a machine that never comes back must not hold its batches for ever.
OUT_OF_SIGHT_S = 900.0


class Drivers:
    """Rows of drivers, one a scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, scope: str, now: float) -> None:
        """Register this process as the one that drives a scope."""
        row = {"scope": scope, **asdict(current_process()), "started_at": now, "ended_at": None}
        with self._database.write() as connection:
            connection.execute(self._database.upsert(drivers, ["scope"]).values(**row))

    def end(self, scope: str, now: float) -> None:
        """Note that a scope is driven no more."""
        with self._database.write() as connection:
            connection.execute(
                update(drivers)
                .where(drivers.c.scope == scope, drivers.c.ended_at.is_(None))
                .values(ended_at=now)
            )

    def living(self, now: float | None = None) -> set[str]:
        """Scopes that are driven: not ended, and their process is not certainly gone.

        Args:
            now: Epoch seconds. With it, a driver on another machine counts only while it, or a
                worker of its process, has given a sign within `OUT_OF_SIGHT_S`.
        """
        beat_at = (
            select(func.max(workers.c.beat_at))
            .where(
                and_(
                    workers.c.pid == drivers.c.pid,
                    workers.c.process_started == drivers.c.process_started,
                    workers.c.boot_id == drivers.c.boot_id,
                    workers.c.host == drivers.c.host,
                )
            )
            .scalar_subquery()
        )
        query = select(drivers, beat_at.label("beat_at")).where(drivers.c.ended_at.is_(None))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        here = current_process().host
        return {
            row.scope
            for row in rows
            if not is_process_gone(_identity(row))
            and (now is None or row.host == here or _seen_at(row) >= now - OUT_OF_SIGHT_S)
        }


def _identity(row: Row[tuple[object, ...]]) -> ProcessIdentity:
    return ProcessIdentity(row.host, row.boot_id, row.pid, row.process_started)


def _seen_at(row: Row[tuple[object, ...]]) -> float:
    return max(float(row.started_at), float(row.beat_at or 0.0))
