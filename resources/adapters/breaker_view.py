"""One process's view of the breakers that all processes share.

A healthy call looks into a dictionary in memory and no further. Failures are written at once,
successes are told in the background, and what other processes wrote is read in the background.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.permit import SITE_PREFIX, Endpoint
from resources.core.breaker import Breaker, BreakerPolicy, Status, Verdict, sentence
from resources.core.ports import BreakerBook, Clock

# Rows are found by when they were written: other machines' clocks may be behind by so much.
CLOCK_TOLERANCE_S = 5.0


class BreakerView:
    """Breakers by endpoint, as far as they are known here.

    Args:
        worker_id: Under whose name probes are made.
    """

    def __init__(
        self,
        breakers: BreakerBook,
        commits: CommitQueue,
        clock: Clock,
        policy: BreakerPolicy,
        worker_id: str,
    ) -> None:
        self._breakers = breakers
        self._commits = commits
        self._clock = clock
        self._policy = policy
        self._worker_id = worker_id
        # Only those that are not as good as new; every other endpoint is closed.
        self._known: dict[str, Breaker] = {}
        self._untold: Counter[str] = Counter()
        self._read_at = 0.0
        self._changed = asyncio.Event()
        self._notices: list[str] = []
        self._paused_sites: set[str] = set()

    def of(self, endpoint: Endpoint) -> Breaker | None:
        """The endpoint's breaker; None where there is nothing against it."""
        return self._known.get(endpoint.key)

    async def refresh(self) -> None:
        """Tell successes, and read what others wrote."""
        told, self._untold = self._untold, Counter()
        now = self._clock.now()
        since = self._read_at - CLOCK_TOLERANCE_S

        def exchange() -> Mapping[str, Breaker]:
            if told:
                self._breakers.succeeded(told, self._worker_id, now, self._policy)
            return self._breakers.changed_since(since, self._policy)

        found = await self._commits.commit(exchange)
        self._read_at = now
        for key, breaker in found.items():
            self._learn(key, breaker)

    def tell(self) -> None:
        """Tell the last successes, when the worker has ended: they change no row of work."""
        told, self._untold = self._untold, Counter()
        if told:
            self._breakers.succeeded(told, self._worker_id, self._clock.now(), self._policy)

    def succeeded(self, endpoint: Endpoint) -> None:
        """Count a success, in memory; a site only where a failure is known of it."""
        known = self._known.get(endpoint.key)
        if endpoint.provider is None and known is None:
            return
        self._untold[endpoint.key] += 1

    async def failed(self, endpoint: Endpoint, said: str) -> None:
        """Write a failure."""
        successes = self._untold.pop(endpoint.key, 0)
        breaker = await self._commits.commit(
            lambda: self._breakers.failed(
                endpoint.key, said, successes, self._worker_id, self._clock.now(), self._policy
            )
        )
        self._learn(endpoint.key, breaker)

    async def take_probe(self, endpoint: Endpoint) -> float | None:
        """Try to get the one probe. Returns when it is taken for lost, or None without it."""
        breaker, is_taken = await self._commits.commit(
            lambda: self._breakers.take_probe(
                endpoint.key, self._worker_id, self._clock.now(), self._policy
            )
        )
        self._learn(endpoint.key, breaker)
        return breaker.probe_until if is_taken else None

    async def end_probe(
        self, endpoint: Endpoint, probe_until: float | None, verdict: Verdict, said: str
    ) -> None:
        """Write what our probe found."""
        breaker = await self._commits.commit(
            lambda: self._breakers.end_probe(
                endpoint.key,
                self._worker_id,
                verdict,
                said,
                self._clock.now(),
                self._policy,
                probe_until,
            )
        )
        self._learn(endpoint.key, breaker)

    async def take_retry(self, endpoint: Endpoint) -> bool:
        """Take a retry from the endpoint's budget."""
        successes = self._untold.pop(endpoint.key, 0)
        breaker, is_granted = await self._commits.commit(
            lambda: self._breakers.take_retry(
                endpoint.key, successes, self._clock.now(), self._policy
            )
        )
        self._learn(endpoint.key, breaker)
        return is_granted

    async def wait_for_change(self, at_most_s: float) -> None:
        """Wait until any breaker changes, as far as it is known here."""
        try:
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        except TimeoutError:
            return

    def drain_notices(self) -> list[str]:
        """What has changed since the last time, in words: each provider, and sites as a count."""
        said, self._notices = self._notices, []
        return said

    @property
    def paused_sites(self) -> int:
        """How many sites were found paused so far."""
        return len(self._paused_sites)

    def _learn(self, key: str, breaker: Breaker) -> None:
        older = self._known.get(key)
        if breaker.status is Status.CLOSED and breaker.failures == 0:
            self._known.pop(key, None)
        else:
            self._known[key] = breaker
        older_status = older.status if older else Status.CLOSED
        if breaker.status is older_status:
            return
        if key.startswith(SITE_PREFIX):
            self._paused_sites.add(key)
        else:
            self._notices.append(sentence(key, breaker))
        self._changed.set()
        self._changed = asyncio.Event()
