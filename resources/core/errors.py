"""Everything that can go wrong with a domain, as a closed set, and what each kind leads to.

    PipelineError
    ├── UsageError          bad input or settings: one sentence, exit code 2, nothing half-done
    ├── CallError           one outgoing call failed; carries a Failure
    ├── LeaseLost           another worker has taken our rows over; stop without writing
    └── PipelinePhaseError  a phase ended with unsettled domains; Dagster shows it

`RULES` is the one table of failure kinds. Adapters turn exceptions into a `Failure`; only this
module says what a failure means. How an exception is recognised is not here (`adapters/classify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from resources.core.models import Phase, State


class FailureKind(StrEnum):
    """Why a domain could not be worked on, or was settled without data."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    HTTP_5XX = "http_5xx"
    RATE_LIMITED = "rate_limited"
    BREAKER_OPEN = "breaker_open"
    LIMITER = "limiter"
    QUOTA_EXHAUSTED = "quota_exhausted"
    BUDGET_EXHAUSTED = "budget_exhausted"
    AUTH = "auth"
    STORE = "store"
    LOCAL_NETWORK = "local_network"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    NO_SUCH_HOST = "no_such_host"
    TLS_CERTIFICATE = "tls_certificate"
    NOT_FOUND = "not_found"
    GONE = "gone"
    ROBOTS = "robots"
    BLOCKED_ADDRESS = "blocked_address"
    TOO_LARGE = "too_large"
    UNSUPPORTED_CONTENT = "unsupported_content"
    MALFORMED = "malformed"
    HTTP_4XX = "http_4xx"
    BUG = "bug"


class Handling(StrEnum):
    """What happens to a domain after a failure of this kind."""

    ROUND = "round"
    """Tried again later; each time uses up a round."""
    WAIT = "wait"
    """Waits for something that is not the domain's fault; no round is used up."""
    SETTLE = "settle"
    """Final at once."""


@dataclass(frozen=True, slots=True)
class FailureRule:
    """One row of the table: what a kind means.

    Args:
        handling: What happens to the domain.
        state: Where it leads: at once for SETTLE, `waiting` for the others.
        needs_person: Nothing will change until somebody acts or a new period begins.
        stops_run: Asking on for other domains in this run is pointless.
        sentence: What a person reads.
        counts_for_breaker: Whether it says that the other side is away.
    """

    handling: Handling
    state: State
    sentence: str
    needs_person: bool = False
    stops_run: bool = False
    counts_for_breaker: bool = False


def _round(sentence: str, *, breaker: bool = False) -> FailureRule:
    return FailureRule(Handling.ROUND, State.WAITING, sentence, counts_for_breaker=breaker)


def _wait(sentence: str, *, person: bool = False, stops: bool = False) -> FailureRule:
    return FailureRule(Handling.WAIT, State.WAITING, sentence, person, stops)


def _settle(state: State, sentence: str) -> FailureRule:
    return FailureRule(Handling.SETTLE, state, sentence)


RULES: Mapping[FailureKind, FailureRule] = MappingProxyType(
    {
        FailureKind.TIMEOUT: _round("The other side did not answer in time.", breaker=True),
        FailureKind.CONNECT: _round("The connection was refused, reset or cut.", breaker=True),
        FailureKind.DNS: _round("The domain's name servers did not answer.", breaker=True),
        FailureKind.TLS: _round("The encrypted connection could not be set up.", breaker=True),
        FailureKind.HTTP_5XX: _round("The other side answered with a server error.", breaker=True),
        FailureKind.RATE_LIMITED: _round("The other side asked for a slower pace."),
        FailureKind.BREAKER_OPEN: _wait("Calls are paused because too many of them failed."),
        FailureKind.LIMITER: _wait("The pace limit has no room at present."),
        FailureKind.QUOTA_EXHAUSTED: _wait(
            "The provider's credits are used up; top them up or wait for the new period.",
            person=True,
        ),
        FailureKind.BUDGET_EXHAUSTED: _wait(
            "Our own credit limit is reached; raise --max-credits to go on.", person=True
        ),
        FailureKind.AUTH: _wait(
            "The provider does not accept our key; check its API key.", person=True
        ),
        FailureKind.STORE: _wait("Our own database or disk did not take the result.", stops=True),
        FailureKind.LOCAL_NETWORK: _wait(
            "This machine has no working network or name resolution; "
            "the domains were not tried and wait for it.",
            stops=True,
        ),
        FailureKind.CANCELLED: _wait("The run was stopped before this domain was finished."),
        FailureKind.LEASE_LOST: _wait("Another worker has taken this domain over."),
        FailureKind.NO_SUCH_HOST: _settle(State.REFUSED, "The domain does not exist in the DNS."),
        FailureKind.TLS_CERTIFICATE: _settle(
            State.REFUSED, "The site's certificate is not valid, so its pages are not trusted."
        ),
        FailureKind.NOT_FOUND: _settle(State.NOT_FOUND, "There is nothing there."),
        FailureKind.GONE: _settle(State.NOT_FOUND, "It was there once and is gone for good."),
        FailureKind.ROBOTS: _settle(State.REFUSED, "The site's robots.txt forbids fetching it."),
        FailureKind.BLOCKED_ADDRESS: _settle(
            State.REFUSED, "The name leads to an address that must not be fetched."
        ),
        FailureKind.TOO_LARGE: _settle(State.REFUSED, "The answer is larger than the limit."),
        FailureKind.UNSUPPORTED_CONTENT: _settle(State.REFUSED, "The answer is not a web page."),
        FailureKind.MALFORMED: _settle(State.REFUSED, "The answer could not be understood."),
        FailureKind.HTTP_4XX: _settle(State.REFUSED, "The other side declined the request."),
        FailureKind.BUG: _round("An unforeseen error in this program; see its stack trace."),
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong, with all that a person needs to find it.

    Args:
        kind: Member of the closed set.
        message: One sentence about this very case, without secrets.
        url: What was asked for, without secrets.
        provider: Whose answer it was, for provider calls.
        retry_after_s: Seconds the other side asked us to wait, if it did.
        stack: The stack trace, for BUG only.
        is_for_all: Whether every other domain of the run would meet the same.
    """

    kind: FailureKind
    message: str
    url: str | None = None
    provider: str | None = None
    retry_after_s: float | None = None
    stack: str | None = None
    is_for_all: bool = False


class PipelineError(Exception):
    """Root of this project's exceptions."""


class UsageError(PipelineError):
    """Input or settings that cannot be used: the message says what, where and what to do."""


class CallError(PipelineError):
    """One outgoing call failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


class LeaseLost(PipelineError):
    """Another worker holds our rows now: this one must stop without writing anything more."""


class PipelinePhaseError(PipelineError):
    """A phase ended with unsettled domains.

    Args:
        phase: Which phase.
        message: Counts by reason, in plain words.
        recoverable: Whether trying again later, without a person, can mend it.
        retry_in_s: Seconds until the first of them is due again; None when no wait helps.
        counts: Unsettled domains by failure kind (or state, where there is no kind).
    """

    def __init__(
        self,
        phase: Phase,
        message: str,
        *,
        recoverable: bool,
        retry_in_s: float | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.recoverable = recoverable
        self.retry_in_s = retry_in_s
        self.counts = dict(counts or {})
