"""The one way out: every call to a provider or a site passes here, one at a time.

    async with gate.call(endpoint) as permit:
        ...                              # at most one call's worth of work

Before the call: the endpoint's breaker lets it through, or it is rejected at once; then it waits
for its turn. Afterwards: how it ended is classified, told apart from our own network's trouble, and
counted. No database connection is held during a call. What a rejection means for the domain is
decided elsewhere: it is no attempt, so it uses up no round.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.breaker_view import BreakerView
from resources.adapters.classify import classify
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.network import NetworkCheck
from resources.adapters.pace_view import PaceView
from resources.adapters.permit import Endpoint, Permit, holding
from resources.adapters.time_limits import which_limit
from resources.adapters.waits import Waits
from resources.core.breaker import BreakerPolicy, Status, Verdict, sentence, verdict_of
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind, LeaseLost
from resources.core.limit_headers import wait_until_reset
from resources.core.ports import Clock, Sleep

REFRESH_S = 0.25
PATIENCE_S = 30.0
_PROVIDERS_OWN = {
    FailureKind.NO_SUCH_HOST: FailureKind.DNS,
    FailureKind.TLS_CERTIFICATE: FailureKind.TLS,
}


class CallGate:
    """Lets calls out, by breaker and pace. Used by one event loop; enter it before the first call.

    Args:
        network: Tells our own trouble from the other side's.
        policy: Of all breakers.
        worker_id: The worker whose calls these are.
        settings: The limits of a call, to name the one that it ran into.
        refresh_s: Seconds between two looks at what other processes found.
    """

    def __init__(
        self,
        ledger: Ledger,
        commits: CommitQueue,
        network: NetworkCheck,
        clock: Clock,
        policy: BreakerPolicy,
        worker_id: str,
        settings: FetchSettings,
        refresh_s: float = REFRESH_S,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._commits = commits
        self._network = network
        self._clock = clock
        self._settings = settings
        self._refresh_s = refresh_s
        self.breakers = BreakerView(ledger.breakers, commits, clock, policy, worker_id)
        self._waits = Waits(clock, sleep)
        self.sleep = self._waits.sleep
        self.paces = PaceView(ledger.paces, commits, clock, worker_id, self.sleep)
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        now = self._clock.now()
        await self._commits.commit(lambda: self._ledger.breakers.forget_old(now))
        await self._commits.commit(lambda: self._ledger.paces.forget_old(now))
        await self._refresh()
        self._refreshing = asyncio.ensure_future(self._keep_refreshing())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._refreshing is not None
        self._refreshing.cancel()
        await asyncio.gather(self._refreshing, return_exceptions=True)
        # Whoever was taken over writes nothing more, and a database that is away takes nothing.
        if not isinstance(error, LeaseLost | SQLAlchemyError):
            with contextlib.suppress(LeaseLost):
                await self._commits.commit(self._leave_ledger)

    def call(
        self,
        endpoint: Endpoint,
        *,
        url: str | None = None,
        patience_s: float = PATIENCE_S,
        crawl_delay_s: float = 0.0,
    ) -> _Call:
        """One call's passage.

        Args:
            url: What is asked for, for messages.
            patience_s: Longest wait for the turn, or for somebody's probe to end.
            crawl_delay_s: What the site's robots.txt asks for.

        Raises:
            CallError: on entering, BREAKER_OPEN or LIMITER: nothing may be sent now; on leaving,
                what the call failed with, classified.
        """
        return _Call(self, endpoint, url, patience_s, crawl_delay_s)

    def drain_notices(self) -> list[str]:
        """What the breakers did since the last time, in words for the run's log."""
        return self.breakers.drain_notices()

    def waits_until(self) -> float:
        """Until when a call waits on purpose: for its turn, for somebody's probe, or to be tried
        again. Epoch seconds, of the latest; 0.0 where none waits for long."""
        return self._waits.until()

    def passes_at_once(self, endpoint: Endpoint) -> bool:
        """Take the turn of a call that nothing holds up. Returns whether it has; nothing is taken
        where it would have to wait, or be the probe."""
        return not self.is_paused(endpoint) and self.paces.take_turn_at_once(endpoint)

    async def admit(self, endpoint: Endpoint, until: float) -> float | None:
        """Pass the breaker, or raise.

        Returns: until when this call is the probe, epoch seconds; None for all other calls.
        """
        while True:
            breaker = self.breakers.of(endpoint)
            if breaker is None or breaker.status is Status.CLOSED:
                return None
            now = self._clock.now()
            if breaker.is_probe_due(now):
                probe_until = await self._take_probe(endpoint)
                if probe_until is not None:
                    return probe_until
                continue
            wait_s = breaker.blocked_until(now) - now
            if breaker.status is Status.HALF_OPEN and now < until:
                patience_s = min(wait_s, until - now)
                with self._waits.noted(patience_s):
                    await self.breakers.wait_for_change(patience_s)
                continue
            raise CallError(
                Failure(
                    FailureKind.BREAKER_OPEN,
                    sentence(endpoint.name, breaker),
                    provider=endpoint.provider,
                    retry_after_s=wait_s,
                )
            )

    def is_paused(self, endpoint: Endpoint) -> bool:
        """Whether the breaker lets nothing through but a probe."""
        breaker = self.breakers.of(endpoint)
        return breaker is not None and breaker.status is not Status.CLOSED

    def succeeded_at_once(self, permit: Permit, latency_s: float) -> bool:
        """Count a call that brought an answer and no complaint, in memory. Returns whether that
        was all there was to do; nothing is counted where it was not."""
        if permit.is_probe or permit.failure is not None:
            return False
        if permit.limit_headers and wait_until_reset(permit.limit_headers, self._clock.now()):
            return False
        self.breakers.succeeded(permit.endpoint)
        self.paces.end_turn(permit.endpoint, latency_s, is_good=True)
        return True

    async def succeeded(self, permit: Permit, latency_s: float) -> None:
        """The call brought an answer; one that complains is heard all the same."""
        endpoint = permit.endpoint
        try:
            if permit.is_probe:
                await self.breakers.end_probe(endpoint, permit.probe_until, Verdict.ALIVE, "")
            else:
                self.breakers.succeeded(endpoint)
            if permit.failure is not None and _is_about_pace(permit.failure):
                await self.paces.slow_down(endpoint, permit.failure)
            elif permit.limit_headers:
                now = self._clock.now()
                wait_s = wait_until_reset(permit.limit_headers, now)
                if wait_s:
                    await self.paces.hold_until(endpoint, now + wait_s)
        finally:
            self.paces.end_turn(endpoint, latency_s, is_good=permit.failure is None)

    async def failed(
        self, permit: Permit, error: Exception, url: str | None, latency_s: float
    ) -> CallError:
        """The call failed: say how, and count it."""
        endpoint = permit.endpoint
        try:
            failure = self.describe(error, url=url, provider=endpoint.provider)
            explained = await self._network.explain(CallError(failure))
            failure = explained.failure
            if _is_about_pace(failure):
                await self.paces.slow_down(endpoint, failure)
            elif failure.kind is FailureKind.HTTP_5XX:
                self.paces.ease_off(endpoint)
            verdict = verdict_of(failure.kind)
            if permit.is_probe:
                said = failure.message
                await self.breakers.end_probe(endpoint, permit.probe_until, verdict, said)
            elif verdict is Verdict.AWAY:
                await self.breakers.failed(endpoint, failure.message)
            elif verdict is Verdict.ALIVE:
                self.breakers.succeeded(endpoint)
        finally:
            self.paces.end_turn(endpoint, latency_s, is_good=False)
        if isinstance(error, CallError) and error.failure == failure:
            return error
        return CallError(failure)

    def describe(
        self, error: Exception, *, url: str | None = None, provider: str | None = None
    ) -> Failure:
        """Say what a call failed with; a time-out says which of our limits it was."""
        failure = classify(error, url=url, provider=provider)
        if isinstance(error, CallError):
            return failure
        if provider is not None and failure.kind in _PROVIDERS_OWN:
            # It is about the provider's service: the domains that it was asked about are not
            # settled by that.
            failure = replace(failure, kind=_PROVIDERS_OWN[failure.kind])
        if failure.kind is FailureKind.TIMEOUT:
            limit = which_limit(error, self._settings)
            if limit is not None:
                failure = replace(failure, message=f"timeout: {limit}")
        return failure

    async def given_up(self, permit: Permit, latency_s: float) -> None:
        """The call was stopped by us: it says nothing about the endpoint."""
        self.paces.end_turn(permit.endpoint, latency_s, is_good=False)
        await self.give_probe_back(permit.endpoint, permit.probe_until)

    async def give_probe_back(self, endpoint: Endpoint, probe_until: float | None) -> None:
        """Let somebody else try, at once, where a probe was taken and not made."""
        if probe_until is not None:
            await self.breakers.end_probe(endpoint, probe_until, Verdict.NOTHING, "")

    def now(self) -> float:
        """Epoch seconds."""
        return self._clock.now()

    def check_refreshing(self) -> None:
        """Raise what ended the background refresh, if something did: the view would grow stale."""
        if self._refreshing is not None and self._refreshing.done():
            self._refreshing.result()

    async def _take_probe(self, endpoint: Endpoint) -> float | None:
        """Take the probe, if it is still there; whoever is stopped meanwhile gives it back."""
        taking = asyncio.ensure_future(self.breakers.take_probe(endpoint))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await self.give_probe_back(endpoint, await taking)
            raise

    def _leave_ledger(self) -> None:
        self.breakers.tell()
        self.paces.leave_ledger()

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._refresh()

    async def _refresh(self) -> None:
        await self.breakers.refresh()
        await self.paces.refresh()


class _Call:
    """The passage of one call; see `CallGate.call`."""

    def __init__(
        self,
        gate: CallGate,
        endpoint: Endpoint,
        url: str | None,
        patience_s: float,
        crawl_delay_s: float,
    ) -> None:
        self._gate = gate
        self._endpoint = endpoint
        self._url = url
        self._patience_s = patience_s
        self._crawl_delay_s = crawl_delay_s

    async def __aenter__(self) -> Permit:
        gate, endpoint = self._gate, self._endpoint
        gate.check_refreshing()
        # Most calls need not wait for anything.
        probe_until = None if gate.passes_at_once(endpoint) else await self._wait_to_pass()
        self._permit = Permit(endpoint, probe_until)
        self._holding = holding(self._permit)
        self._holding.__enter__()
        self._began_at = gate.now()
        return self._permit

    async def _wait_to_pass(self) -> float | None:
        """Pass breaker and pace, or raise. Returns: until when the call is the probe, if it is."""
        gate, endpoint = self._gate, self._endpoint
        until = gate.now() + self._patience_s
        while True:
            probe_until = await gate.admit(endpoint, until)
            try:
                await gate.paces.take_turn(endpoint, until, self._crawl_delay_s)
            except BaseException:
                await asyncio.shield(gate.give_probe_back(endpoint, probe_until))
                raise
            if probe_until is not None or not gate.is_paused(endpoint):
                return probe_until
            # The breaker has opened while this call waited for its turn.
            gate.paces.end_turn(endpoint, 0.0, is_good=False)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holding.__exit__()
        latency_s = max(0.0, self._gate.now() - self._began_at)
        is_given_up = isinstance(error, LeaseLost) or not isinstance(error, Exception)
        if error is None and not self._permit.is_unused:
            if self._gate.succeeded_at_once(self._permit, latency_s):
                return
            await asyncio.shield(self._gate.succeeded(self._permit, latency_s))
        elif error is None or is_given_up:
            await asyncio.shield(self._gate.given_up(self._permit, latency_s))
        else:
            assert isinstance(error, Exception)
            failing = self._gate.failed(self._permit, error, self._url, latency_s)
            failed = await asyncio.shield(failing)
            if failed is not error:
                raise failed from error


def _is_about_pace(failure: Failure) -> bool:
    """Whether the other side asked for a slower pace, in one way or another."""
    return failure.kind is FailureKind.RATE_LIMITED or (
        failure.kind is FailureKind.HTTP_5XX and failure.retry_after_s is not None
    )
