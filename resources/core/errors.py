"""Everything that can go wrong with a domain, as a closed set, and what each kind leads to.

    PipelineError
    ├── UsageError          bad input or settings: one sentence, exit code 2, nothing half-done
    ├── CallError           one outgoing call failed; carries a Failure
    ├── LeaseLost           another worker has taken our rows over; stop without writing
    └── PipelinePhaseError  a phase ended with unsettled domains; Dagster shows it

Each kind of failure: whether the domain is tried again by itself, whether that uses up a round (the
last one leads to `quarantined`), whether it counts for the breaker, the state it leads to, and who
must act. A test holds this table to `RULES`, which is the one that counts.

    kind                again round breaker state     who acts    what a person reads
    timeout             yes   yes   yes     waiting   nobody      The other side did not answer in
                                                                  time.
    connect             yes   yes   yes     waiting   nobody      The connection was refused, reset
                                                                  or cut.
    dns                 yes   yes   yes     waiting   nobody      The domain's name servers did not
                                                                  answer.
    tls                 yes   yes   yes     waiting   nobody      The encrypted connection could
                                                                  not be set up.
    http_5xx            yes   yes   yes     waiting   nobody      The other side answered with a
                                                                  server error.
    rate_limited        yes   yes   -       waiting   nobody      The other side asked for a slower
                                                                  pace.
    breaker_open        yes   -     -       waiting   nobody      Calls are paused because too many
                                                                  of them failed.
    limiter             yes   -     -       waiting   nobody      The pace limit has no room at
                                                                  present.
    quota_exhausted     -     -     -       waiting   operator    The provider's credits are used
                                                                  up; top them up or wait for the
                                                                  new period.
    budget_exhausted    -     -     -       waiting   operator    Our own credit limit is reached;
                                                                  raise --max-credits to go on.
    auth                -     -     -       waiting   operator    The provider does not accept our
                                                                  key; check its API key.
    store               yes   -     -       waiting   operator    Our own database or disk did not
                                                                  take the result.
    local_network       yes   -     -       waiting   operator    This machine has no working
                                                                  network or name resolution; the
                                                                  domains were not tried and wait
                                                                  for it.
    cancelled           yes   -     -       waiting   nobody      The run was stopped before this
                                                                  domain was finished.
    lease_lost          yes   -     -       waiting   nobody      Another worker has taken this
                                                                  domain over.
    no_such_host        -     -     -       refused   nobody      The domain does not exist in the
                                                                  DNS.
    tls_certificate     -     -     -       refused   nobody      The site's certificate is not
                                                                  valid, so its pages are not
                                                                  trusted.
    not_found           -     -     -       not_found nobody      There is nothing there.
    gone                -     -     -       not_found nobody      It was there once and is gone for
                                                                  good.
    robots              -     -     -       refused   nobody      The site's robots.txt or robots
                                                                  tag forbids it.
    blocked_address     -     -     -       refused   nobody      The name leads to an address that
                                                                  must not be fetched.
    too_large           -     -     -       refused   nobody      The answer is larger than the
                                                                  limit.
    unsupported_content -     -     -       refused   nobody      The answer is not a web page.
    malformed           -     -     -       refused   nobody      The answer could not be
                                                                  understood.
    http_4xx            -     -     -       refused   nobody      The other side declined the
                                                                  request.
    bug                 yes   yes   -       waiting   maintainers An unforeseen error in this
                                                                  program; see its stack trace.

Adapters turn exceptions into a `Failure`; only this module says what a failure means. How an
exception is recognised is not here (`adapters/classify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from resources.core.models import Phase, State


class Actor(StrEnum):
    """Who must act so that something changes."""

    NOBODY = "nobody"
    """It goes on by itself, or it is final."""
    OPERATOR = "operator"
    """Whoever runs the pipeline."""
    MAINTAINERS = "maintainers"
    """Whoever looks after its code."""


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
        sentence: What a person reads.
        actor: Who must act so that something changes.
        needs_person: Nothing will change until somebody acts or a new period begins.
        stops_run: Asking on for other domains in this run is pointless.
        counts_for_breaker: Whether it says that the other side is away.
        has_due_time: Whether the domain waits for a time that is known, so that a run may wait too.
    """

    handling: Handling
    state: State
    sentence: str
    actor: Actor = Actor.NOBODY
    needs_person: bool = False
    stops_run: bool = False
    counts_for_breaker: bool = False
    has_due_time: bool = False

    @property
    def is_retryable(self) -> bool:
        """Whether the domain is tried again by itself, sooner or later."""
        return self.handling is not Handling.SETTLE and not self.needs_person

    @property
    def uses_a_round(self) -> bool:
        """Whether each failure of this kind brings the domain nearer to being given up."""
        return self.handling is Handling.ROUND


def _round(sentence: str, *, breaker: bool = False, actor: Actor = Actor.NOBODY) -> FailureRule:
    return FailureRule(
        Handling.ROUND,
        State.WAITING,
        sentence,
        actor,
        counts_for_breaker=breaker,
        has_due_time=True,
    )


def _wait(sentence: str, *, is_timed: bool = False) -> FailureRule:
    return FailureRule(Handling.WAIT, State.WAITING, sentence, has_due_time=is_timed)


def _wait_for_person(sentence: str) -> FailureRule:
    return FailureRule(Handling.WAIT, State.WAITING, sentence, Actor.OPERATOR, needs_person=True)


def _stop(sentence: str) -> FailureRule:
    return FailureRule(Handling.WAIT, State.WAITING, sentence, Actor.OPERATOR, stops_run=True)


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
        FailureKind.BREAKER_OPEN: _wait(
            "Calls are paused because too many of them failed.", is_timed=True
        ),
        FailureKind.LIMITER: _wait("The pace limit has no room at present.", is_timed=True),
        FailureKind.QUOTA_EXHAUSTED: _wait_for_person(
            "The provider's credits are used up; top them up or wait for the new period."
        ),
        FailureKind.BUDGET_EXHAUSTED: _wait_for_person(
            "Our own credit limit is reached; raise --max-credits to go on."
        ),
        FailureKind.AUTH: _wait_for_person(
            "The provider does not accept our key; check its API key."
        ),
        FailureKind.STORE: _stop("Our own database or disk did not take the result."),
        FailureKind.LOCAL_NETWORK: _stop(
            "This machine has no working network or name resolution; "
            "the domains were not tried and wait for it."
        ),
        FailureKind.CANCELLED: _wait("The run was stopped before this domain was finished."),
        FailureKind.LEASE_LOST: _wait("Another worker has taken this domain over."),
        FailureKind.NO_SUCH_HOST: _settle(State.REFUSED, "The domain does not exist in the DNS."),
        FailureKind.TLS_CERTIFICATE: _settle(
            State.REFUSED, "The site's certificate is not valid, so its pages are not trusted."
        ),
        FailureKind.NOT_FOUND: _settle(State.NOT_FOUND, "There is nothing there."),
        FailureKind.GONE: _settle(State.NOT_FOUND, "It was there once and is gone for good."),
        FailureKind.ROBOTS: _settle(
            State.REFUSED, "The site's robots.txt or robots tag forbids it."
        ),
        FailureKind.BLOCKED_ADDRESS: _settle(
            State.REFUSED, "The name leads to an address that must not be fetched."
        ),
        FailureKind.TOO_LARGE: _settle(State.REFUSED, "The answer is larger than the limit."),
        FailureKind.UNSUPPORTED_CONTENT: _settle(State.REFUSED, "The answer is not a web page."),
        FailureKind.MALFORMED: _settle(State.REFUSED, "The answer could not be understood."),
        FailureKind.HTTP_4XX: _settle(State.REFUSED, "The other side declined the request."),
        FailureKind.BUG: _round(
            "An unforeseen error in this program; see its stack trace.", actor=Actor.MAINTAINERS
        ),
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
    """A phase ended with unsettled domains. Its cause is the failure that stopped it, if one did.

    Args:
        phase: Which phase.
        message: Counts by reason, in plain words.
        recoverable: Whether trying again later, without a person, can mend it.
        batch, domain, provider, url, round: The newest case of the most frequent reason: where it
            was seen, what was asked for (without secrets), and how many rounds it has used up.
        retry_in_s: Seconds until the first of them is due again; None when no wait helps.
        counts: Unsettled domains by failure kind (or state, where there is no kind).
    """

    def __init__(
        self,
        phase: Phase,
        message: str,
        recoverable: bool,
        *,
        batch: str | None = None,
        domain: str | None = None,
        provider: str | None = None,
        url: str | None = None,
        round: int | None = None,
        retry_in_s: float | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.recoverable = recoverable
        self.batch = batch
        self.domain = domain
        self.provider = provider
        self.url = url
        self.round = round
        self.retry_in_s = retry_in_s
        self.counts = dict(counts or {})
