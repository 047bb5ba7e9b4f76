"""Workers: the processes that hold claims, who they are, and whether they live.

A worker is told apart from a later process with the same pid by host, boot id, pid and process
start time; nobody counts as dead (or is signalled) unless that is certain. One lease covers all
claims of a worker and is renewed by its beat.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import events, work, workers
from resources.adapters.ledger.work_queries import is_open
from resources.core.errors import FailureKind, LeaseLost
from resources.core.models import Phase, State
from resources.core.rounds import OTHER_DEATHS_WITHIN_S, is_cause_of_deaths

REFRESH_GIVEN_UP = "given_up"
DIED = "died"
KILLED_BY_IT = "The worker process died each time it worked on this domain alone."


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What tells one process from every other, also after a restart.

    Args:
        host: Host name.
        boot_id: Changes with each start of the machine.
        pid: Process id.
        process_started: Seconds after boot (epoch seconds where the system tells no better).
    """

    host: str
    boot_id: str
    pid: int
    process_started: float


def current_process() -> ProcessIdentity:
    """The identity of this process."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _boot_id(), pid, process_started(pid))


def process_started(pid: int) -> float:
    """When a process started. Counted from boot where that can be had: a start time of the day
    moves whenever the clock is set, and then every living worker would look like a stranger."""
    try:
        # The second field is the name in brackets, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return float(psutil.Process(pid).create_time())


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{psutil.boot_time():.0f}"


def is_process_gone(identity: ProcessIdentity) -> bool:
    """Whether the process has certainly ended; False where that can't be known from here."""
    if identity.host != socket.gethostname():
        return False
    if identity.boot_id != _boot_id():
        return True
    try:
        same = abs(process_started(identity.pid) - identity.process_started) < 0.02
        return not same or psutil.Process(identity.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def require_unburied(connection: Connection, worker_id: str) -> None:
    """Make sure that nobody has declared a worker dead, until the open transaction ends.

    A burial that comes now waits for the transaction; SQLite lets only one write at a time anyway.
    A worker that has ended by itself may still keep what its last calls bring.

    Raises:
        LeaseLost: somebody has; it must not write anything more.
    """
    unburied = select(workers.c.id).where(
        workers.c.id == worker_id, workers.c.end_reason.is_distinct_from(DIED)
    )
    if connection.execute(unburied.with_for_update(read=True)).first() is None:
        raise _lease_lost()


def require_alive(connection: Connection, worker_id: str) -> None:
    """Make sure that a worker has not ended in any way: only then may it take something.

    Raises:
        LeaseLost: it has.
    """
    alive = select(workers.c.id).where(workers.c.id == worker_id, workers.c.ended_at.is_(None))
    if connection.execute(alive).first() is None:
        raise _lease_lost()


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
        self, worker_id: str, now: float, done: int, total: int, doing: str | None = None
    ) -> None:
        """Renew the lease of all claims, and tell how far the worker is.

        Args:
            doing: What it works on, in words for a person.

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

    def _bury(self, worker_id: str, seen_lease: float, now: float) -> None:
        with self._database.write() as connection:
            changed = connection.execute(
                update(workers)
                .where(
                    workers.c.id == worker_id,
                    workers.c.ended_at.is_(None),
                    # It may have beaten since we looked: then it lives.
                    workers.c.lease_until == seen_lease,
                )
                .values(ended_at=now, end_reason=DIED)
            ).rowcount
            if changed == 0:
                return
            _free_what_it_held(connection, worker_id, now)


def _of_this_process() -> ColumnElement[bool]:
    me = current_process()
    return and_(
        workers.c.host == me.host,
        workers.c.boot_id == me.boot_id,
        workers.c.pid == me.pid,
        workers.c.process_started == me.process_started,
    )


def older_is_kept(reason: str, older_state: str) -> str:
    """Why a refresh was given up, and what that means for the result from before."""
    return f"{reason.rstrip('.')}. The older result ({older_state}) is kept."


def _free_what_it_held(connection: Connection, worker_id: str, now: float) -> None:
    """Count the death for each domain that a dead worker held, and note it in their history."""
    was_open = is_open()
    held = connection.execute(
        select(
            work.c.phase,
            work.c.domain,
            work.c.rounds,
            work.c.state,
            work.c.refresh_asked,
            (work.c.deaths_alone + work.c.claimed_alone).label("deaths_alone"),
        ).where(work.c.claimed_by == worker_id, was_open)
    ).all()
    connection.execute(
        update(work)
        .where(work.c.claimed_by == worker_id, was_open)
        .values(
            deaths=work.c.deaths + 1,
            deaths_alone=work.c.deaths_alone + work.c.claimed_alone,
            claimed_by=None,
            claimed_alone=0,
        )
    )
    connection.execute(
        update(work).where(work.c.claimed_by == worker_id).values(claimed_by=None, claimed_alone=0)
    )
    died_before = _died_between(connection, now - OTHER_DEATHS_WITHIN_S, now)
    for row in held:
        is_culprit = is_cause_of_deaths(row.deaths_alone, died_before - (row.deaths_alone - 1))
        reason = KILLED_BY_IT if is_culprit else "A worker process died with it in hand."
        what = "worker_died"
        if is_culprit:
            what = State.QUARANTINED.value
            values: dict[str, object] = {"updated_at": now, "refresh_asked": 0}
            if row.refresh_asked and row.state != State.QUARANTINED:
                what, reason = REFRESH_GIVEN_UP, older_is_kept(reason, row.state)
            else:
                values |= {
                    "state": State.QUARANTINED,
                    "kind": FailureKind.BUG,
                    "reason": reason,
                    "settled_at": now,
                    "revision": work.c.revision + 1,
                }
            connection.execute(
                update(work)
                .where(work.c.phase == row.phase, work.c.domain == row.domain)
                .values(**values)
            )
        connection.execute(
            events.insert().values(
                domain=row.domain,
                phase=row.phase,
                at=now,
                what=what,
                kind=FailureKind.BUG if is_culprit else None,
                message=reason,
                rounds=row.rounds,
                worker_id=worker_id,
            )
        )


def _died_between(connection: Connection, since: float, until: float) -> int:
    """How many workers were declared dead in a time, its end not included."""
    return connection.execute(
        select(func.count())
        .select_from(workers)
        .where(
            workers.c.end_reason == DIED,
            workers.c.ended_at >= since,
            workers.c.ended_at < until,
        )
    ).scalar_one()


__all__ = [
    "ProcessIdentity",
    "Workers",
    "current_process",
    "is_process_gone",
    "process_started",
    "require_alive",
    "require_unburied",
]
