"""Breakers that all processes share: one row an endpoint, each change kept with time and reason.

What a change is, is decided in `core.breaker`; here each decision is taken in one transaction with
the row locked, so that of many processes exactly one gets the probe. An endpoint of which nothing
was ever told has no row, and is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, delete, func, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import breaker_changes, breakers
from resources.core.breaker import (
    Breaker,
    BreakerPolicy,
    Status,
    Verdict,
    after_failure,
    after_probe,
    after_retry,
    after_successes,
    take_probe,
)
from resources.core.sliding_counts import SlidingCounts

FORGOTTEN_AFTER_S = 86_400.0
# Of breakers and paces together: a commit may hold changes of several of them, in any order, and
# two that locked row by row would wait for each other.
GATE_LOCK = "gate"


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """One change of state, for people."""

    endpoint: str
    at: float
    old: Status
    new: Status
    reason: str


class Breakers:
    """Rows of breakers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changed_since(self, since: float, policy: BreakerPolicy) -> dict[str, Breaker]:
        """Breakers whose row was written at or after `since` (epoch seconds), by endpoint."""
        with self._database.read() as connection:
            rows = connection.execute(select(breakers).where(breakers.c.updated_at >= since)).all()
        return {row.endpoint: _breaker_of(row, policy) for row in rows}

    def not_closed(self, policy: BreakerPolicy) -> dict[str, Breaker]:
        """Breakers that are open or half-open, by endpoint."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(breakers)
                .where(breakers.c.status != Status.CLOSED)
                .order_by(breakers.c.endpoint)
            ).all()
        return {row.endpoint: _breaker_of(row, policy) for row in rows}

    def changes(self, *, prefix: str = "", limit: int = 20) -> list[BreakerChange]:
        """The newest changes of state, newest first.

        Args:
            prefix: Of endpoints whose name begins so.
        """
        query = select(breaker_changes).order_by(breaker_changes.c.id.desc()).limit(limit)
        if prefix:
            query = query.where(breaker_changes.c.endpoint.startswith(prefix, autoescape=True))
        with self._database.read() as connection:
            return [
                BreakerChange(row.endpoint, row.at, Status(row.old), Status(row.new), row.reason)
                for row in connection.execute(query)
            ]

    def open_since(self, endpoint: str, default: float) -> float:
        """When calls to it were stopped, epoch seconds; a probe that failed since does not count.

        Args:
            default: Where nothing is known of that.
        """
        query = select(func.max(breaker_changes.c.at)).where(
            breaker_changes.c.endpoint == endpoint, breaker_changes.c.old == Status.CLOSED
        )
        with self._database.read() as connection:
            at = connection.execute(query).scalar()
        return default if at is None else float(at)

    def stopped_before(self, at: float) -> dict[str, float]:
        """When calls to each endpoint were stopped last, as in `open_since`, where that was at or
        before a time; epoch seconds, by endpoint."""
        stopped_at = func.max(breaker_changes.c.at)
        query = (
            select(breaker_changes.c.endpoint, stopped_at.label("stopped_at"))
            .join(breakers, breakers.c.endpoint == breaker_changes.c.endpoint)
            .where(breakers.c.status != Status.CLOSED, breaker_changes.c.old == Status.CLOSED)
            .group_by(breaker_changes.c.endpoint)
            .having(stopped_at <= at)
        )
        with self._database.read() as connection:
            return {row.endpoint: float(row.stopped_at) for row in connection.execute(query)}

    def failed(
        self,
        endpoint: str,
        said: str,
        successes: int,
        worker_id: str | None,
        now: float,
        policy: BreakerPolicy,
    ) -> Breaker:
        """Count a failed call, after the successes that this process has not told yet."""

        def change(breaker: Breaker) -> Breaker:
            if successes:
                breaker = after_successes(breaker, successes, now)
            return after_failure(breaker, said, now, policy)

        return self._change(endpoint, change, worker_id, now, policy)

    def succeeded(
        self, successes: Mapping[str, int], worker_id: str | None, now: float, policy: BreakerPolicy
    ) -> dict[str, Breaker]:
        """Count calls that succeeded, by endpoint. Returns the breakers afterwards."""

        def counting(calls: int) -> Callable[[Breaker], Breaker]:
            return lambda breaker: after_successes(breaker, calls, now)

        return {
            endpoint: self._change(endpoint, counting(calls), worker_id, now, policy)
            for endpoint, calls in sorted(successes.items())
        }

    def take_probe(
        self, endpoint: str, worker_id: str, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        """Take the one probe if it is due. Returns whether this call took it."""
        is_taken = False

        def change(breaker: Breaker) -> Breaker:
            nonlocal is_taken
            is_taken = breaker.is_probe_due(now)
            return take_probe(breaker, worker_id, now, policy)

        return self._change(endpoint, change, worker_id, now, policy), is_taken

    def end_probe(
        self,
        endpoint: str,
        worker_id: str,
        verdict: Verdict,
        said: str,
        now: float,
        policy: BreakerPolicy,
        probe_until: float | None = None,
    ) -> Breaker:
        """Write what the probe found.

        Args:
            probe_until: Of the breaker that `take_probe` returned: a worker whose probe was taken
                for lost may have another one under way by now. None ends whichever it has.
        """
        return self._change(
            endpoint,
            lambda b: after_probe(b, worker_id, verdict, said, now, policy, probe_until),
            worker_id,
            now,
            policy,
        )

    def take_retry(
        self, endpoint: str, successes: int, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        """Take one retry from the endpoint's budget. Returns whether there was one."""
        is_granted = False

        def change(breaker: Breaker) -> Breaker:
            nonlocal is_granted
            if successes:
                breaker = after_successes(breaker, successes, now)
            retried = after_retry(breaker, now)
            is_granted = retried is not None
            return retried or breaker

        return self._change(endpoint, change, None, now, policy), is_granted

    def forget_old(self, now: float) -> None:
        """Remove breakers of which nothing was heard for a day: thousands of sites fail once.

        Open ones too, once a probe has been due for a day: nobody wants to call there any more, and
        it must not count as paused for ever.
        """
        old = now - FORGOTTEN_AFTER_S
        is_old = and_(breakers.c.updated_at < old, breakers.c.retry_at < old)
        # Rows that somebody is about to change are not old; to wait for them could deadlock.
        unlocked = select(breakers.c.endpoint).where(is_old).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            connection.execute(delete(breakers).where(breakers.c.endpoint.in_(unlocked)))

    def count_not_closed(self, prefix: str) -> int:
        """How many breakers of endpoints with this prefix are open or half-open."""
        with self._database.read() as connection:
            return connection.execute(
                select(func.count())
                .select_from(breakers)
                .where(
                    breakers.c.status != Status.CLOSED,
                    breakers.c.endpoint.startswith(prefix, autoescape=True),
                )
            ).scalar_one()

    def _change(
        self,
        endpoint: str,
        decide: Callable[[Breaker], Breaker],
        worker_id: str | None,
        now: float,
        policy: BreakerPolicy,
    ) -> Breaker:
        with self._database.write() as connection:
            older = self._locked(connection, endpoint, policy)
            if older is None:
                new = policy.new_breaker()
                if decide(new) == new:
                    return new
                older = self._begun(connection, endpoint, now, policy)
            newer = decide(older)
            if newer == older:
                return older
            connection.execute(
                update(breakers)
                .where(breakers.c.endpoint == endpoint)
                .values(**_values_of(newer), updated_at=now)
            )
            if newer.status is not older.status:
                connection.execute(
                    breaker_changes.insert().values(
                        endpoint=endpoint,
                        at=now,
                        old=older.status,
                        new=newer.status,
                        reason=newer.reason,
                        worker_id=worker_id,
                    )
                )
        return newer

    def _locked(
        self, connection: Connection, endpoint: str, policy: BreakerPolicy
    ) -> Breaker | None:
        self._database.lock(connection, GATE_LOCK)
        query = select(breakers).where(breakers.c.endpoint == endpoint).with_for_update()
        row = connection.execute(query).first()
        return None if row is None else _breaker_of(row, policy)

    def _begun(
        self, connection: Connection, endpoint: str, now: float, policy: BreakerPolicy
    ) -> Breaker:
        """Begin an endpoint's row, if no other process has begun it meanwhile, and lock it."""
        values = {"endpoint": endpoint, **_values_of(policy.new_breaker()), "updated_at": now}
        connection.execute(self._database.insert_ignore(breakers).values(**values))
        begun = self._locked(connection, endpoint, policy)
        assert begun is not None
        return begun


def _values_of(breaker: Breaker) -> dict[str, object]:
    return {
        "status": breaker.status,
        "failures": breaker.failures,
        "openings": breaker.openings,
        "window": breaker.counts.to_text(),
        "opened_at": breaker.opened_at,
        "retry_at": breaker.retry_at,
        "probe_by": breaker.probe_by,
        "probe_until": breaker.probe_until,
        "reason": breaker.reason,
    }


def _breaker_of(row: Row[tuple[object, ...]], policy: BreakerPolicy) -> Breaker:
    values = row._mapping
    return Breaker(
        status=Status(values["status"]),
        failures=values["failures"],
        openings=values["openings"],
        counts=SlidingCounts.from_text(policy.window_s, values["window"]),
        opened_at=values["opened_at"],
        retry_at=values["retry_at"],
        probe_by=values["probe_by"],
        probe_until=values["probe_until"],
        reason=values["reason"],
    )
