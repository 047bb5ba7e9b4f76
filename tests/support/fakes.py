"""What processes share, in memory: breakers and paces, with the rules of the ledger.

The contract tests (tests/contract) run on these and on the ledger alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

from resources.adapters.ledger.paces import FORGOTTEN_AFTER_S, SHARE_LEASE_S
from resources.core.breaker import (
    Breaker,
    BreakerPolicy,
    Verdict,
    after_failure,
    after_probe,
    after_retry,
    after_successes,
    take_probe,
)
from resources.core.pacing import (
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


class MemoryBreakers:
    """`BreakerBook` in memory, for all who would share a ledger."""

    def __init__(self) -> None:
        self.rows: dict[str, Breaker] = {}
        self._changed_at: dict[str, float] = {}
        self._lock = Lock()

    def changed_since(self, since: float, policy: BreakerPolicy) -> Mapping[str, Breaker]:
        return {key: b for key, b in self.rows.items() if self._changed_at[key] >= since}

    def failed(
        self,
        endpoint: str,
        said: str,
        successes: int,
        worker_id: str | None,
        now: float,
        policy: BreakerPolicy,
    ) -> Breaker:
        def change(breaker: Breaker) -> Breaker:
            told = after_successes(breaker, successes, now) if successes else breaker
            return after_failure(told, said, now, policy)

        return self._change(endpoint, change, now, policy)[1]

    def succeeded(
        self, successes: Mapping[str, int], worker_id: str | None, now: float, policy: BreakerPolicy
    ) -> Mapping[str, Breaker]:
        return {
            key: self._change(key, lambda b, n=n: after_successes(b, n, now), now, policy)[1]
            for key, n in successes.items()
        }

    def take_probe(
        self, endpoint: str, worker_id: str, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        older, newer = self._change(
            endpoint, lambda b: take_probe(b, worker_id, now, policy), now, policy
        )
        return newer, older.is_probe_due(now)

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
        return self._change(
            endpoint,
            lambda b: after_probe(b, worker_id, verdict, said, now, policy, probe_until),
            now,
            policy,
        )[1]

    def take_retry(
        self, endpoint: str, successes: int, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        if successes:
            self._change(endpoint, lambda b: after_successes(b, successes, now), now, policy)
        older, newer = self._change(endpoint, lambda b: after_retry(b, now) or b, now, policy)
        return newer, newer != older

    def forget_old(self, now: float) -> None:
        old = now - FORGOTTEN_AFTER_S
        for key in list(self.rows):
            if self._changed_at[key] < old and self.rows[key].retry_at < old:
                del self.rows[key]

    def _change(
        self,
        endpoint: str,
        decide: Callable[[Breaker], Breaker],
        now: float,
        policy: BreakerPolicy,
    ) -> tuple[Breaker, Breaker]:
        with self._lock:
            older = self.rows.get(endpoint, policy.new_breaker())
            newer = decide(older)
            if newer != older:
                self.rows[endpoint], self._changed_at[endpoint] = newer, now
            return older, newer


class MemoryPaces:
    """`PaceBook` in memory, for all who would share a ledger."""

    def __init__(self) -> None:
        self.rows: dict[str, Pace] = {}
        self._shares: dict[str, dict[str, tuple[Share, float]]] = {}
        self._asked_at: dict[str, float] = {}
        self._lock = Lock()

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
        with self._lock:
            pace = self.rows.setdefault(endpoint, limits.new_pace(now))
            self._asked_at[endpoint] = now
            shares = self._shares.setdefault(endpoint, {})
            others = {
                name: share
                for name, (share, until) in shares.items()
                if until > now and name != worker_id
            }
            wanted = in_flight + waiting
            held = slots_for(
                worker_id, wanted, others, limits.concurrency, now, in_flight=in_flight
            )
            shares[worker_id] = (Share(held, wanted), now + SHARE_LEASE_S)
            tokens = tokens_to_draw(pace, held - in_flight, waiting, likely)
            taken, wait_s = 0, 0.0
            if tokens > 0:
                self.rows[endpoint], taken, wait_s = draw(pace, limits, tokens, now)
            return Grant(taken, held, wait_s, pace.not_before, pace.reason)

    def slow_down(
        self,
        endpoint: str,
        limits: PaceLimits,
        asked_wait_s: float | None,
        reason: str,
        now: float,
    ) -> Pace:
        pace = self.rows.get(endpoint, limits.new_pace(now))
        self.rows[endpoint] = slowed(pace, limits, asked_wait_s, reason, now)
        self._asked_at[endpoint] = now
        return self.rows[endpoint]

    def hold_until(self, endpoint: str, limits: PaceLimits, at: float, now: float) -> None:
        self.rows[endpoint] = held_until(self.rows.get(endpoint, limits.new_pace(now)), at, now)
        self._asked_at[endpoint] = now

    def waits(self, now: float) -> Mapping[str, float]:
        return {key: pace.not_before for key, pace in self.rows.items() if pace.not_before > now}

    def leave(self, worker_id: str) -> None:
        for shares in self._shares.values():
            shares.pop(worker_id, None)

    def forget_old(self, now: float) -> None:
        for key in list(self.rows):
            is_old = self._asked_at[key] < now - FORGOTTEN_AFTER_S
            if is_old and self.rows[key].not_before < now:
                del self.rows[key]
