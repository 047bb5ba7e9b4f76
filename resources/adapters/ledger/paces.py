"""Paces that all processes share: one bucket and one set of slots an endpoint.

What is granted is decided in `core.pacing`; here each decision is taken in one transaction with the
endpoint's row locked. A site has a row only once it has asked for a wait.
"""

from __future__ import annotations

from sqlalchemy import Connection, Row, and_, bindparam, delete, select, update

from resources.adapters.ledger.breakers import GATE_LOCK
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import pace_shares, paces
from resources.core.pacing import (
    BLOCK_S,
    Grant,
    Pace,
    PaceLimits,
    Share,
    draw,
    held_until,
    slots_for,
    slowed,
    tokens_to_draw,
)

__all__ = ["BLOCK_S", "SITE_LIMITS", "Grant", "Paces"]

SHARE_LEASE_S = 15.0
# A site has no rate of its own: what slows it down is the wait that it asked for.
SITE_LIMITS = PaceLimits(rate=1000.0, burst=1.0, concurrency=1)
FORGOTTEN_AFTER_S = 86_400.0


# Built once: to build a statement anew costs several times what it costs to run it.
_LOCKED = select(paces).where(paces.c.endpoint == bindparam("endpoint")).with_for_update()
_OTHERS = select(pace_shares).where(
    pace_shares.c.endpoint == bindparam("endpoint"),
    pace_shares.c.until > bindparam("now"),
    pace_shares.c.worker_id != bindparam("worker_id"),
)
# What is set follows from the parameters' names.
_CHANGE = update(paces).where(paces.c.endpoint == bindparam("b_endpoint"))


class Paces:
    """Rows of paces and shares."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._save_share = database.upsert(pace_shares, ["endpoint", "worker_id"])

    def draw(
        self,
        endpoint: str,
        worker_id: str,
        limits: PaceLimits,
        *,
        in_flight: int,
        waiting: int,
        now: float,
        likely: int = 0,
    ) -> Grant:
        """Take a share of the slots, and tokens for calls that begin in the next moment.

        Args:
            in_flight: This process's calls in flight.
            waiting: Its calls that wait to begin; with 0 it gives back what it does not use.
            likely: Calls that are likely to begin before the next draw, those included.
        """
        with self._database.write() as connection:
            pace = self._locked(connection, endpoint, limits, now)
            held = self._share(
                connection, endpoint, worker_id, in_flight, waiting, limits.concurrency, now
            )
            tokens = tokens_to_draw(pace, held - in_flight, waiting, likely)
            taken, wait_s = 0, 0.0
            if tokens > 0:
                newer, taken, wait_s = draw(pace, limits, tokens, now)
                if newer != pace:
                    _write(connection, endpoint, newer, pace, now)
        return Grant(taken, held, wait_s, pace.not_before, pace.reason)

    def slow_down(
        self,
        endpoint: str,
        limits: PaceLimits,
        asked_wait_s: float | None,
        reason: str,
        now: float,
    ) -> Pace:
        """Go slower from now on, because the other side said so."""
        with self._database.write() as connection:
            pace = self._locked(connection, endpoint, limits, now)
            newer = slowed(pace, limits, asked_wait_s, reason, now)
            _write(connection, endpoint, newer, pace, now)
        return newer

    def hold_until(self, endpoint: str, limits: PaceLimits, at: float, now: float) -> None:
        """Let nobody ask before a time (epoch seconds), at the same rate as before."""
        with self._database.write() as connection:
            pace = self._locked(connection, endpoint, limits, now)
            newer = held_until(pace, at, now)
            if newer != pace:
                _write(connection, endpoint, newer, pace, now)

    def waits(self, now: float) -> dict[str, float]:
        """Endpoints that must not be asked before a time (epoch seconds) that is still to come."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(paces.c.endpoint, paces.c.not_before).where(paces.c.not_before > now)
            )
            return {row.endpoint: row.not_before for row in rows}

    def slow_ones(self, now: float) -> list[dict[str, object]]:
        """Endpoints that complained and must not be asked at present, with the reason."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(paces)
                .where(paces.c.reason != "", paces.c.not_before > now)
                .order_by(paces.c.endpoint)
            )
            return [dict(row._mapping) for row in rows]

    def leave(self, worker_id: str) -> None:
        """Give all slots of a worker back."""
        with self._database.write() as connection:
            connection.execute(delete(pace_shares).where(pace_shares.c.worker_id == worker_id))

    def forget_old(self, now: float) -> None:
        """Remove what has not been asked for a day: its bucket is full by then.

        A bucket that is in use must stay, or all that was drawn from it would come back at once.
        """
        old = now - FORGOTTEN_AFTER_S
        is_old = and_(paces.c.updated_at < old, paces.c.filled_at < old, paces.c.not_before < now)
        # Rows that somebody is about to change are not old; to wait for them could deadlock.
        unlocked = select(paces.c.endpoint).where(is_old).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            connection.execute(delete(paces).where(paces.c.endpoint.in_(unlocked)))
            connection.execute(delete(pace_shares).where(pace_shares.c.until < old))

    def _share(
        self,
        connection: Connection,
        endpoint: str,
        worker_id: str,
        in_flight: int,
        waiting: int,
        limit: int,
        now: float,
    ) -> int:
        mine = {"endpoint": endpoint, "worker_id": worker_id}
        rows = connection.execute(_OTHERS, mine | {"now": now})
        others = {row.worker_id: Share(row.slots, row.wanted) for row in rows}
        wanted = in_flight + waiting
        held = slots_for(worker_id, wanted, others, limit, now, in_flight=in_flight)
        share = {"slots": held, "wanted": wanted, "until": now + SHARE_LEASE_S}
        connection.execute(self._save_share, mine | share)
        return held

    def _locked(
        self, connection: Connection, endpoint: str, limits: PaceLimits, now: float
    ) -> Pace:
        self._database.lock(connection, GATE_LOCK)
        row = connection.execute(_LOCKED, {"endpoint": endpoint}).first()
        if row is None:
            new = limits.new_pace(now)
            connection.execute(
                self._database.insert_ignore(paces).values(
                    endpoint=endpoint,
                    rate=new.rate,
                    tokens=new.tokens,
                    filled_at=new.filled_at,
                    not_before=new.not_before,
                    reason=new.reason,
                    updated_at=now,
                )
            )
            row = connection.execute(_LOCKED, {"endpoint": endpoint}).one()
        return _pace_of(row)


def _write(connection: Connection, endpoint: str, newer: Pace, older: Pace, now: float) -> None:
    values: dict[str, object] = {
        "rate": newer.rate,
        "tokens": newer.tokens,
        "filled_at": newer.filled_at,
        "reason": newer.reason,
    }
    if newer.not_before != older.not_before:
        values |= {"not_before": newer.not_before, "updated_at": now}
    connection.execute(_CHANGE, values | {"b_endpoint": endpoint})


def _pace_of(row: Row[tuple[object, ...]]) -> Pace:
    values = row._mapping
    return Pace(
        rate=values["rate"],
        tokens=values["tokens"],
        filled_at=values["filled_at"],
        not_before=values["not_before"],
        reason=values["reason"],
    )
