"""Workers: the processes that hold claims, who they are, and whether they live.

A worker is told apart from a later process with the same pid by host, boot id, pid and process
start time; nobody counts as dead (or is signalled) unless that is certain. One lease covers all
claims of a worker and is renewed by its beat.
"""

from __future__ import annotations

import uuid

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, update

from resources.adapters.ledger.burials import DIED, free_what_it_held
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.process_identity import (
    ProcessIdentity,
    current_process,
    is_process_gone,
    process_started,
)
from resources.adapters.ledger.schema import work, workers
from resources.core.errors import LeaseLost
from resources.core.models import Phase
from resources.core.run_events import BROKEN_OFF

# A person has ended the command: nothing else ends a worker with this word.
INTERRUPTED = "interrupted"
# By whoever ends services, such as a machine that is shut down: no person has decided anything.
TERMINATED = "terminated"


_IS_WORKER = workers.c.id == bindparam("worker_id")
# Built once: every commit asks the first one.
_UNBURIED = (
    select(workers.c.id)
    .where(_IS_WORKER, workers.c.end_reason.is_distinct_from(DIED))
    .with_for_update(read=True)
)
_ALIVE = select(workers.c.id).where(_IS_WORKER, workers.c.ended_at.is_(None))


def require_unburied(connection: Connection, worker_id: str) -> None:
    """Make sure that nobody has declared a worker dead, until the open transaction ends.

    A burial that comes now waits for the transaction; SQLite lets only one write at a time anyway.
    A worker that has ended by itself may still keep what its last calls bring.

    Raises:
        LeaseLost: somebody has; it must not write anything more.
    """
    if connection.execute(_UNBURIED, {"worker_id": worker_id}).first() is None:
        raise _lease_lost()


def require_alive(connection: Connection, worker_id: str) -> None:
    """Make sure that a worker has not ended in any way: only then may it take something.

    Raises:
        LeaseLost: it has.
    """
    if connection.execute(_ALIVE, {"worker_id": worker_id}).first() is None:
        raise _lease_lost()


def note_progress(connection: Connection, worker_id: str, now: float) -> None:
    """Note that a worker has just written something of its work."""
    connection.execute(update(workers).where(workers.c.id == worker_id).values(progress_at=now))


def _lease_lost() -> LeaseLost:
    return LeaseLost(
        "This process stood still for longer than its lease (it was stopped, or the machine "
        "slept), so that its domains were given to others; it has written nothing since"
    )


class Workers:
    """Rows of workers: begin, beat, end, and what a dead one leaves behind."""

    def __init__(self, database: Database, lease_s: float) -> None:
        self._database = database
        self.lease_s = lease_s

    def begin(self, phase: Phase, run_id: str | None, now: float) -> str:
        """Register this process as a worker. Returns its id."""
        worker_id = str(uuid.uuid4())
        identity = current_process()
        with self._database.write() as connection:
            connection.execute(
                workers.insert().values(
                    id=worker_id,
                    host=identity.host,
                    boot_id=identity.boot_id,
                    pid=identity.pid,
                    process_started=identity.process_started,
                    run_id=run_id,
                    phase=phase,
                    started_at=now,
                    beat_at=now,
                    lease_until=now + self.lease_s,
                    done=0,
                    total=0,
                )
            )
        return worker_id

    def beat(
        self,
        worker_id: str,
        now: float,
        done: int,
        total: int,
        doing: str | None = None,
        waits_until: float = 0.0,
    ) -> None:
        """Renew the lease of all claims, and tell how far the worker is.

        A beat proves life, and no progress: that is noted by what a worker commits.

        Args:
            doing: What it works on, in words for a person.
            waits_until: Until when it waits on purpose, epoch seconds; 0.0 for no such wait.

        Raises:
            LeaseLost: somebody has declared this worker dead; it must stop writing.
        """
        with self._database.write() as connection:
            changed = connection.execute(
                update(workers)
                .where(workers.c.id == worker_id, workers.c.ended_at.is_(None))
                .values(
                    beat_at=now,
                    lease_until=now + self.lease_s,
                    done=done,
                    total=total,
                    doing=doing,
                    waits_until=waits_until,
                )
            ).rowcount
        if changed == 0:
            raise _lease_lost()

    def end(self, worker_id: str, now: float, reason: str) -> None:
        """End an own worker and give its claims back untouched."""
        with self._database.write() as connection:
            # The worker's row first, as every commit of its own does: two that lock the same rows
            # in different order would wait for each other.
            connection.execute(
                update(workers)
                .where(workers.c.id == worker_id, workers.c.ended_at.is_(None))
                .values(ended_at=now, end_reason=reason)
            )
            connection.execute(
                update(work)
                .where(work.c.claimed_by == worker_id)
                .values(claimed_by=None, claimed_alone=0)
            )

    def end_of_process(self, now: float, reason: str, run_id: str | None = None) -> None:
        """End all workers of this very process, and give their claims back untouched.

        Without a run, the newest one gets the reason also if it has just been broken off: a stop
        closes its stream, which does not know why.

        Args:
            run_id: Only those of this run: what an attempt of it left that was broken off because
                the ledger was away.
        """
        mine = select(workers.c.id).where(_of_this_process(), workers.c.ended_at.is_(None))
        if run_id is not None:
            mine = mine.where(workers.c.run_id == run_id)
        with self._database.read() as connection:
            rows = connection.execute(mine).all()
        for row in rows:
            self.end(row.id, now, reason)
        if run_id is None:
            self._tell_newest(reason)

    def _tell_newest(self, reason: str) -> None:
        newest = select(workers).where(_of_this_process())
        newest = newest.order_by(workers.c.started_at.desc()).limit(1)
        with self._database.write() as connection:
            row = connection.execute(newest).first()
            if row is not None and row.end_reason == BROKEN_OFF:
                connection.execute(
                    update(workers).where(workers.c.id == row.id).values(end_reason=reason)
                )

    def is_process_buried(self) -> bool:
        """Whether a worker of this very process was declared dead.

        What a worker's own commits ask for the ledger, this answers for what lies outside of it:
        artifacts, Dagster's records, the phases still to come.
        """
        died = select(workers.c.id).where(_of_this_process(), workers.c.end_reason == DIED)
        with self._database.read() as connection:
            return connection.execute(died.limit(1)).first() is not None

    def require_process_unburied(self) -> None:
        """Raise where `is_process_buried`.

        Raises:
            LeaseLost: somebody else works on what it had in hand.
        """
        if self.is_process_buried():
            raise _lease_lost()

    def bury_dead(self, now: float) -> list[str]:
        """End workers that are certainly dead, or whose lease has run out.

        What they had in hand becomes claimable again, with the death noted: domains in whose
        hands workers keep dying are worked on in ever smaller groups, then alone, and in the end
        the one that does it is quarantined.

        Returns: run ids of the workers that were ended (those that had one).
        """
        with self._database.read() as connection:
            rows = connection.execute(select(workers).where(workers.c.ended_at.is_(None))).all()
        dead = [
            row
            for row in rows
            if row.lease_until < now
            or is_process_gone(ProcessIdentity(row.host, row.boot_id, row.pid, row.process_started))
        ]
        for row in dead:
            self._bury(row.id, row.lease_until, now)
        return [row.run_id for row in dead if row.run_id]

    def bury(self, run_id: str, now: float) -> None:
        """End the workers of a run whose process was just ended by us.

        Whatever their leases say; what becomes of their domains is as in `bury_dead`.
        """
        open_ones = select(workers.c.id).where(
            workers.c.run_id == run_id, workers.c.ended_at.is_(None)
        )
        with self._database.read() as connection:
            ids = connection.execute(open_ones).scalars().all()
        for worker_id in ids:
            self._bury(worker_id, None, now)

    def _bury(self, worker_id: str, seen_lease: float | None, now: float) -> None:
        is_dead = [workers.c.id == worker_id, workers.c.ended_at.is_(None)]
        if seen_lease is not None:
            # It may have beaten since we looked: then it lives.
            is_dead.append(workers.c.lease_until == seen_lease)
        with self._database.write() as connection:
            changed = connection.execute(
                update(workers).where(*is_dead).values(ended_at=now, end_reason=DIED)
            ).rowcount
            if changed == 0:
                return
            free_what_it_held(connection, worker_id, now)


def _of_this_process() -> ColumnElement[bool]:
    me = current_process()
    return and_(
        workers.c.host == me.host,
        workers.c.boot_id == me.boot_id,
        workers.c.pid == me.pid,
        workers.c.process_started == me.process_started,
    )


__all__ = [
    "BROKEN_OFF",
    "INTERRUPTED",
    "TERMINATED",
    "ProcessIdentity",
    "Workers",
    "current_process",
    "is_process_gone",
    "note_progress",
    "process_started",
    "require_alive",
    "require_unburied",
]
