"""What `core` needs from the outside, as protocols. Adapters implement them; tests bring fakes.

Everything that touches a network, a disk, a database or a clock enters through here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from resources.core.breaker import Breaker, BreakerPolicy, Verdict
from resources.core.errors import Failure
from resources.core.models import Candidate, CompanyQuery, DomainTask, Phase, RawAnswer, Settled
from resources.core.pacing import Grant, Pace, PaceLimits
from resources.core.rounds import Change
from resources.core.tallies import Tally

Sleep = Callable[[float], Awaitable[None]]


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class Provider(Protocol):
    """A source of company facts. One file each under `adapters/providers`.

    `ask` does the one call and keeps nothing; `read` is pure, so that a kept answer can be read
    again by newer code without asking (and paying) again.
    """

    @property
    def name(self) -> str:
        """Lower-case name, as in the settings and in every fact's `source`."""
        ...

    @property
    def is_paid(self) -> bool:
        """Whether a match costs credits."""
        ...

    @property
    def bulk_size(self) -> int:
        """Most domains that one call may ask for; 1 where there is no bulk."""
        ...

    async def endpoint(self, queries: Sequence[CompanyQuery]) -> str:
        """Name what these would be asked at: it fails as one, and is paced as one.

        The provider's name where it is one service; name and host where it is many.

        Raises: CallError when that cannot be found out now.
        """
        ...

    async def ask(self, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
        """Ask for up to `bulk_size` companies in one call.

        Returns: an answer or a failure for every domain asked for.
        Raises: CallError when the call as a whole failed.
        """
        ...

    def read(self, query: CompanyQuery, answer: RawAnswer) -> Sequence[Candidate]:
        """Read a kept answer: candidates, best first; empty where there is no match.

        Raises: CallError(MALFORMED) when the body is not what the contract says.
        """
        ...


class PhaseWork(Protocol):
    """One attempt of a phase on one domain; the batch runner calls it for many at a time."""

    @property
    def phase(self) -> Phase: ...

    @property
    def concurrency(self) -> int:
        """How many domains may be in hand at a time."""
        ...

    async def attempt(self, task: DomainTask) -> Settled | Failure:
        """Work on the domain once. Expected trouble is returned, never raised."""
        ...

    async def close(self) -> None:
        """Begin nothing more, and let what is paid for already come in.

        Called before the worker ends: what it brings can still be written.
        """
        ...


class WorkQueue(Protocol):
    """One worker's view of a phase in the ledger. Every write names the worker."""

    async def tallies(self, batch_keys: Sequence[str]) -> Mapping[str, Tally]:
        """Counts per batch, for every key asked for."""
        ...

    async def claim(
        self, batch_keys: Sequence[str], limit: int, due_before: float, *, alone: bool = False
    ) -> Sequence[DomainTask]:
        """Take up to `limit` open domains that are due and that nobody holds.

        Args:
            alone: Take suspects instead, in whose hands workers died: a few that may be worked on
                together but with nothing else in hand, or a single one.
        """
        ...

    async def settle(self, change: Change) -> None:
        """Commit an attempt's outcome.

        Raises:
            LeaseLost: the domain is no longer ours; nothing was written.
        """
        ...

    async def hold(self, batch_keys: Sequence[str], failure: Failure) -> None:
        """Let unsettled domains that nobody holds wait for the failure's reason.

        They are due once its `retry_after_s` is over, at once where it has none. What waits for a
        reason of its own keeps it.
        """
        ...

    async def beat(
        self, done: int, total: int, doing: str | None = None, waits_until: float = 0.0
    ) -> None:
        """Renew the lease of all claims, and tell how far the pass is.

        Args:
            doing: What is being worked on, in words for a person.
            waits_until: Until when it waits on purpose, epoch seconds; 0.0 for no such wait.

        Raises:
            LeaseLost: this worker was declared dead.
        """
        ...

    async def end(self, reason: str) -> None:
        """Give all claims back."""
        ...


class BreakerBook(Protocol):
    """Where all processes keep their breakers. Each operation is one decision of `core.breaker`.

    An endpoint of which nothing was told is closed. Times are epoch seconds.
    """

    def changed_since(self, since: float, policy: BreakerPolicy) -> Mapping[str, Breaker]:
        """Breakers that were changed at or after a time, by endpoint."""
        ...

    def failed(
        self,
        endpoint: str,
        said: str,
        successes: int,
        worker_id: str | None,
        now: float,
        policy: BreakerPolicy,
    ) -> Breaker:
        """Count a call that found the endpoint away.

        Args:
            said: What it ended with.
            successes: Calls before it that succeeded and were not told yet.

        Returns: the breaker afterwards, as all of these do.
        """
        ...

    def succeeded(
        self, successes: Mapping[str, int], worker_id: str | None, now: float, policy: BreakerPolicy
    ) -> Mapping[str, Breaker]:
        """Count calls that succeeded, by endpoint."""
        ...

    def take_probe(
        self, endpoint: str, worker_id: str, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        """Take the one probe if it is due, and say whether it was: exactly one of many gets it."""
        ...

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
        """Write what a probe found, unless it was taken for lost meanwhile.

        Args:
            probe_until: Of the breaker that `take_probe` returned; None for whichever probe this
                worker has.
        """
        ...

    def take_retry(
        self, endpoint: str, successes: int, now: float, policy: BreakerPolicy
    ) -> tuple[Breaker, bool]:
        """Take a retry from the endpoint's budget, and say whether there was one left."""
        ...

    def forget_old(self, now: float) -> None:
        """Remove breakers of which nothing was heard for a day."""
        ...


class PaceBook(Protocol):
    """Where all processes keep their paces. Each operation is one decision of `core.pacing`.

    Times are epoch seconds.
    """

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

        The share lapses unless it is drawn again within seconds.

        Args:
            in_flight: This process's calls in flight.
            waiting: Its calls that wait to begin; with 0 it gives back what it does not use.
            likely: Calls that are likely to begin before the next draw, those included.
        """
        ...

    def slow_down(
        self,
        endpoint: str,
        limits: PaceLimits,
        asked_wait_s: float | None,
        reason: str,
        now: float,
    ) -> Pace:
        """Go slower from now on, because the other side said so.

        Args:
            asked_wait_s: Seconds that it asked us to wait; None where it named no time.
        """
        ...

    def hold_until(self, endpoint: str, limits: PaceLimits, at: float, now: float) -> None:
        """Let nobody ask before a time, at the same rate as before."""
        ...

    def waits(self, now: float) -> Mapping[str, float]:
        """Endpoints that must not be asked before a time that is still to come."""
        ...

    def leave(self, worker_id: str) -> None:
        """Give all slots of a worker back."""
        ...

    def forget_old(self, now: float) -> None:
        """Remove what has not been asked for a day."""
        ...
