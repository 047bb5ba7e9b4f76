"""Drivers: commands that work through their batches by themselves, one run after the other.

While one lives, nobody else need start runs for what it was asked for, also between its runs. A
driver is told apart from a later process with the same pid as a worker is (`workers`). One that
gives no sign for long counts as gone though its process is there: it may be stopped for ever, and
what it has in hand itself is its workers' (whose leases run out), so that nothing is done twice.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Row, and_, func, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import drivers, workers
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone

# What is on another machine can't be looked at: it is given less time than one that is seen.
OUT_OF_SIGHT_S = 900.0


class Drivers:
    """Rows of drivers, one a scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, scope: str, now: float) -> None:
        """Register this process as the one that drives a scope."""
        row = {
            "scope": scope,
            **asdict(current_process()),
            "started_at": now,
            "beat_at": now,
            "waits_until": 0.0,
            "ended_at": None,
        }
        with self._database.write() as connection:
            connection.execute(self._database.upsert(drivers, ["scope"]).values(**row))

    def beat(self, scope: str, now: float, waits_until: float = 0.0) -> None:
        """Give a sign of life.

        Args:
            waits_until: Until when it waits on purpose, epoch seconds; 0.0 for no such wait.
        """
        with self._database.write() as connection:
            connection.execute(
                update(drivers)
                .where(drivers.c.scope == scope, drivers.c.ended_at.is_(None))
                .values(beat_at=now, waits_until=waits_until)
            )

    def end(self, scope: str, now: float) -> None:
        """Note that a scope is driven no more."""
        with self._database.write() as connection:
            connection.execute(
                update(drivers)
                .where(drivers.c.scope == scope, drivers.c.ended_at.is_(None))
                .values(ended_at=now)
            )

    def living(self, now: float, silent_after_s: float) -> set[str]:
        """Scopes that are driven: not ended, their process not certainly gone, and not silent.

        A sign is one of the driver itself or of a worker of its process; until the end of a wait
        on purpose none is expected.

        Args:
            now: Epoch seconds.
            silent_after_s: Seconds without a sign after which a driver counts as gone; for one on
                another machine at most `OUT_OF_SIGHT_S`.
        """
        worker_beat_at = (
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
        query = select(drivers, worker_beat_at.label("worker_beat_at")).where(
            drivers.c.ended_at.is_(None)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        here = current_process().host
        patience_s = {True: silent_after_s, False: min(silent_after_s, OUT_OF_SIGHT_S)}
        return {
            row.scope
            for row in rows
            if not is_process_gone(_identity(row))
            and _seen_at(row) >= now - patience_s[row.host == here]
        }


def _identity(row: Row[tuple[object, ...]]) -> ProcessIdentity:
    return ProcessIdentity(row.host, row.boot_id, row.pid, row.process_started)


def _seen_at(row: Row[tuple[object, ...]]) -> float:
    signs = (row.started_at, row.beat_at, row.waits_until, row.worker_beat_at or 0.0)
    return max(float(sign) for sign in signs)
