"""One process's view of the paces that all processes share, and whose turn it is here.

Providers are paced by buckets and slots in the ledger, sites by what this process sees of them; a
wait that one of them asked for holds for all processes. What is granted: `core.pacing`.
"""

from __future__ import annotations

from collections import OrderedDict

from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.paces import SITE_LIMITS, Grant
from resources.adapters.pacers import AddressRooms, ProviderPacer, SitePacer
from resources.adapters.permit import Endpoint
from resources.core.errors import Failure
from resources.core.pacing import LONGEST_PAUSE_S, PaceLimits
from resources.core.ports import Clock, PaceBook, Sleep

SITES_IN_MEMORY = 4_000


class PaceView:
    """Paces by endpoint, as far as they are known here.

    Args:
        worker_id: Whose share of the slots is taken.
    """

    def __init__(
        self, paces: PaceBook, commits: CommitQueue, clock: Clock, worker_id: str, sleep: Sleep
    ) -> None:
        self._paces = paces
        self._commits = commits
        self._clock = clock
        self._worker_id = worker_id
        self._sleep = sleep
        self._providers: dict[str, ProviderPacer] = {}
        self._sites: OrderedDict[str, SitePacer] = OrderedDict()
        self._rooms = AddressRooms(clock)
        self._waits: dict[str, float] = {}

    async def refresh(self) -> None:
        """Read what others were told to wait for, and give back what is not used."""
        now = self._clock.now()
        waits = await self._commits.commit(lambda: self._paces.waits(now))
        self._waits = {}
        for key, at in waits.items():
            self._learn_wait(key, at)
        for pacer in list(self._providers.values()):
            await pacer.give_back()

    def leave_ledger(self) -> None:
        """Give everything back, at the end."""
        self._paces.leave(self._worker_id)

    def take_turn_at_once(self, endpoint: Endpoint) -> bool:
        """Let a provider's call begin now, if it may. Returns whether it does."""
        pacer = self._providers.get(endpoint.key)
        return pacer is not None and pacer.enter_at_once()

    async def take_turn(self, endpoint: Endpoint, until: float, crawl_delay_s: float) -> None:
        """Wait until the call may begin, or raise."""
        if endpoint.limits is not None:
            await self._provider_pacer(endpoint, endpoint.limits).enter(until)
            return
        pacer = self._site_pacer(endpoint)
        await pacer.enter(until, crawl_delay_s)
        try:
            await self._rooms.enter(endpoint, until)
        except BaseException:
            pacer.leave(0.0, is_good=False)
            raise
        if crawl_delay_s:
            next_at = self._clock.now() + crawl_delay_s
            try:
                await self.hold_until(endpoint, next_at)
            except BaseException:
                self.end_turn(endpoint, 0.0, is_good=False)
                raise

    def end_turn(self, endpoint: Endpoint, latency_s: float, *, is_good: bool) -> None:
        """A call is over."""
        if endpoint.limits is not None:
            self._provider_pacer(endpoint, endpoint.limits).leave()
        else:
            self._rooms.leave(endpoint)
            self._site_pacer(endpoint).leave(latency_s, is_good=is_good)

    def ease_off(self, endpoint: Endpoint) -> None:
        """Ask a site less often in this process: it has trouble of its own."""
        if endpoint.limits is None:
            self._site_pacer(endpoint).complained()

    async def slow_down(self, endpoint: Endpoint, failure: Failure) -> None:
        """Go slower from now on, in all processes: the other side complained."""
        self.ease_off(endpoint)
        now = self._clock.now()
        limits = endpoint.limits or SITE_LIMITS
        # At once for this process, before the ledger has it for the others.
        self._learn_wait(endpoint.key, now + min(failure.retry_after_s or 0.0, LONGEST_PAUSE_S))
        pace = await self._commits.commit(
            lambda: self._paces.slow_down(
                endpoint.key, limits, failure.retry_after_s, failure.message, now
            )
        )
        self._learn_wait(endpoint.key, pace.not_before)

    async def hold_until(self, endpoint: Endpoint, at: float) -> None:
        """Let no process ask before a time (epoch seconds)."""
        now = self._clock.now()
        limits = endpoint.limits or SITE_LIMITS
        at = min(at, now + LONGEST_PAUSE_S)
        self._learn_wait(endpoint.key, at)
        await self._commits.commit(lambda: self._paces.hold_until(endpoint.key, limits, at, now))

    def _learn_wait(self, key: str, at: float) -> None:
        pacer = self._providers.get(key) or self._sites.get(key)
        if pacer is not None:
            pacer.not_before = max(pacer.not_before, at)
        if at > self._clock.now():
            self._waits[key] = max(at, self._waits.get(key, 0.0))

    def _provider_pacer(self, endpoint: Endpoint, limits: PaceLimits) -> ProviderPacer:
        pacer = self._providers.get(endpoint.key)
        if pacer is None:

            async def draw(in_flight: int, waiting: int, likely: int) -> Grant:
                return await self._commits.commit(
                    lambda: self._paces.draw(
                        endpoint.key,
                        self._worker_id,
                        limits,
                        in_flight=in_flight,
                        waiting=waiting,
                        likely=likely,
                        now=self._clock.now(),
                    )
                )

            pacer = ProviderPacer(endpoint, limits, draw, self._clock, self._sleep)
            self._providers[endpoint.key] = pacer
        return pacer

    def _site_pacer(self, endpoint: Endpoint) -> SitePacer:
        pacer = self._sites.get(endpoint.key)
        if pacer is None:
            pacer = SitePacer(endpoint, self._clock, self._sleep)
            pacer.not_before = self._waits.get(endpoint.key, 0.0)
            self._sites[endpoint.key] = pacer
            while len(self._sites) > SITES_IN_MEMORY and next(iter(self._sites.values())).is_idle:
                self._sites.popitem(last=False)
        return pacer
