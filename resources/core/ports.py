"""What `core` needs from the outside, as protocols. Adapters implement them; tests bring fakes.

Everything that touches a network, a disk, a database or a clock enters through here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from resources.core.errors import Failure
from resources.core.models import Candidate, CompanyQuery, DomainTask, Phase, RawAnswer, Settled
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
        """Let unsettled domains that nobody holds wait for the failure's reason."""
        ...

    async def beat(self, done: int, total: int) -> None:
        """Renew the lease of all claims.

        Raises:
            LeaseLost: this worker was declared dead.
        """
        ...

    async def end(self, reason: str) -> None:
        """Give all claims back."""
        ...
