"""Dagster's runs as the ledger knows them: their processes, their signs of life, how they ended.

Dagster tells neither which process works on a run nor whether it makes progress. What becomes of a
run is decided in `core/run_recovery`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import and_, case, delete, func, or_, select, update

from resources.adapters.ledger.burials import DIED
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import run_endings, run_processes, workers
from resources.adapters.ledger.work_queries import in_parts
from resources.adapters.ledger.workers import (
    INTERRUPTED,
    TERMINATED,
    ProcessIdentity,
    current_process,
)
from resources.core.run_recovery import RunEnding


@dataclass(frozen=True, slots=True)
class RunSigns:
    """What the workers of a run tell.

    Args:
        progress_at: Their newest committed state or call, epoch seconds; 0.0 for none.
        waits_until: Until when a living one waits on purpose, epoch seconds; 0.0 for no such wait.
        interrupted: Whether a person ended the command that one of them belonged to.
        terminated: Whether that command was told to end by a signal that no person sends.
    """

    progress_at: float
    waits_until: float
    interrupted: bool
    terminated: bool = False


@dataclass(frozen=True, slots=True)
class EndedRun:
    """How a run ended.

    Args:
        reason: In words for a person.
        at: When it was noted, epoch seconds.
    """

    run_id: str
    how: RunEnding
    reason: str
    at: float


class RunBook:
    """Rows about runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run_id: str, now: float) -> None:
        """Register this process as the one that works on a run."""
        row = {"run_id": run_id, **asdict(current_process()), "started_at": now, "ended_at": None}
        with self._database.write() as connection:
            connection.execute(self._database.upsert(run_processes, ["run_id"]).values(**row))

    def end(self, run_id: str, now: float) -> None:
        """Note that this process works on the run no more."""
        me = asdict(current_process())
        is_mine = [run_processes.c[name] == value for name, value in me.items()]
        with self._database.write() as connection:
            connection.execute(
                update(run_processes)
                .where(run_processes.c.run_id == run_id, *is_mine)
                .values(ended_at=now)
            )

    def wait(self, run_id: str, until: float) -> None:
        """Note that the run waits on purpose before it tries again, until then (epoch seconds)."""
        with self._database.write() as connection:
            connection.execute(
                update(run_processes)
                .where(run_processes.c.run_id == run_id)
                .values(waits_until=until)
            )

    def waits(self, run_ids: Iterable[str]) -> dict[str, float]:
        """Until when each run waits before it tries again; the past for one that does not."""
        found: dict[str, float] = {}
        with self._database.read() as connection:
            for part in in_parts(list(run_ids)):
                rows = connection.execute(
                    select(run_processes.c.run_id, run_processes.c.waits_until).where(
                        run_processes.c.run_id.in_(part)
                    )
                )
                found.update((row.run_id, float(row.waits_until)) for row in rows)
        return found

    def processes(self, run_ids: Iterable[str]) -> dict[str, ProcessIdentity]:
        """The newest process of each run that has had one."""
        found: dict[str, ProcessIdentity] = {}
        with self._database.read() as connection:
            for part in in_parts(list(run_ids)):
                rows = connection.execute(
                    select(run_processes).where(run_processes.c.run_id.in_(part))
                )
                for row in rows:
                    found[row.run_id] = ProcessIdentity(
                        row.host, row.boot_id, row.pid, row.process_started
                    )
        return found

    def signs(self, run_ids: Iterable[str]) -> dict[str, RunSigns]:
        """What the workers of each run tell; runs without a worker are left out.

        A call counts because it is committed by the worker's own queue, as a state is.
        """
        is_open = workers.c.ended_at.is_(None)
        waits_until = case((is_open, func.coalesce(workers.c.waits_until, 0.0)), else_=0.0)
        is_interrupted = case((workers.c.end_reason == INTERRUPTED, 1), else_=0)
        is_terminated = case((workers.c.end_reason == TERMINATED, 1), else_=0)
        found: dict[str, RunSigns] = {}
        with self._database.read() as connection:
            for part in in_parts(list(run_ids)):
                rows = connection.execute(
                    select(
                        workers.c.run_id,
                        func.max(func.coalesce(workers.c.progress_at, 0.0)).label("progress_at"),
                        func.max(waits_until).label("waits_until"),
                        func.max(is_interrupted).label("is_interrupted"),
                        func.max(is_terminated).label("is_terminated"),
                    )
                    .where(workers.c.run_id.in_(part))
                    .group_by(workers.c.run_id)
                )
                for row in rows:
                    found[row.run_id] = RunSigns(
                        float(row.progress_at),
                        float(row.waits_until),
                        bool(row.is_interrupted),
                        bool(row.is_terminated),
                    )
        return found

    def is_beating(self, run_id: str, now: float) -> bool:
        """Whether a worker of a run holds a lease that has not run out."""
        beating = select(workers.c.id).where(
            workers.c.run_id == run_id, workers.c.ended_at.is_(None), workers.c.lease_until >= now
        )
        with self._database.read() as connection:
            return connection.execute(beating.limit(1)).first() is not None

    def without_lease(self, run_ids: Iterable[str], now: float) -> set[str]:
        """Runs whose newest worker has lost its lease: it beats no more, or was declared dead.

        A worker that has ended by itself has lost nothing, and its run may begin another one.
        """
        is_lost = or_(
            workers.c.end_reason == DIED,
            and_(workers.c.ended_at.is_(None), workers.c.lease_until < now),
        )
        lost_at = func.max(case((is_lost, workers.c.started_at), else_=0.0)).label("lost_at")
        kept_at = func.max(case((is_lost, 0.0), else_=workers.c.started_at)).label("kept_at")
        found: set[str] = set()
        with self._database.read() as connection:
            for part in in_parts(list(run_ids)):
                rows = connection.execute(
                    select(workers.c.run_id, lost_at, kept_at)
                    .where(workers.c.run_id.in_(part))
                    .group_by(workers.c.run_id)
                )
                found |= {row.run_id for row in rows if row.lost_at > row.kept_at}
        return found

    def note_ending(self, run_id: str, how: RunEnding, reason: str, now: float) -> bool:
        """Note how a run ended, once.

        Returns: False where that was known already; nothing was changed then.
        """
        row = {"run_id": run_id, "how": how.value, "reason": reason, "at": now}
        statement = self._database.insert_ignore(run_endings).values(**row)
        with self._database.write() as connection:
            inserted = connection.execute(statement.returning(run_endings.c.run_id)).first()
        return inserted is not None

    def withdraw_ending(self, run_id: str) -> None:
        """Forget how a run ended: it has not ended after all."""
        with self._database.write() as connection:
            connection.execute(delete(run_endings).where(run_endings.c.run_id == run_id))

    def endings(self, since: float) -> list[EndedRun]:
        """What was noted at or after a time (epoch seconds), oldest first."""
        query = (
            select(run_endings)
            .where(run_endings.c.at >= since)
            .order_by(run_endings.c.at, run_endings.c.run_id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [EndedRun(row.run_id, RunEnding(row.how), row.reason, row.at) for row in rows]

    def known_endings(self, run_ids: Iterable[str]) -> set[str]:
        """Those of the runs of which it is noted how they ended."""
        found: set[str] = set()
        with self._database.read() as connection:
            for part in in_parts(list(run_ids)):
                rows = connection.execute(
                    select(run_endings.c.run_id).where(run_endings.c.run_id.in_(part))
                )
                found |= set(rows.scalars())
        return found
