"""The circuit breaker: when calls to one endpoint are paused, and who may try it again.

    closed ──too many failures──▶ open ──time is over──▶ half-open ──probe succeeds──▶ closed
                                   ▲                         │
                                   └──────probe fails, the next wait is longer

Pure: a breaker, what happened and `now` in, a breaker out. All processes share one breaker per
endpoint; who keeps it, and how two of them never probe at once, is the ledger's transaction around
these functions. An endpoint is what fails as one: a provider, or one site's host.

A retry budget is kept with it: retries are at most a share of the calls, so that they never become
the load that keeps an endpoint down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from resources.core.errors import RULES, FailureKind, Handling
from resources.core.sliding_counts import SlidingCounts

LONGEST_TIMEOUT_S = 3600.0
RETRY_SHARE = 0.1
# A site is asked for a handful of pages: a tenth of that would be no retry at all.
RETRIES_ALWAYS_ALLOWED = 3
# Kinds that tell nothing of an endpoint though they do not wait for us: it was not asked.
_NOT_ASKED = frozenset(
    {
        FailureKind.BUDGET_EXHAUSTED,
        FailureKind.NO_SUCH_HOST,
        FailureKind.BLOCKED_ADDRESS,
        FailureKind.ROBOTS,
        FailureKind.BUG,
    }
)


class Status(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(StrEnum):
    """What a call's end says about its endpoint."""

    ALIVE = "alive"
    AWAY = "away"
    NOTHING = "nothing"
    """It never left us, or was given up by us: the endpoint has not been tried."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and for how long.

    Args:
        threshold: Failures in a row that open it.
        timeout_s: Seconds it stays open before the first probe; doubles with each failed probe.
        window_s: Seconds over which the failure rate is counted.
        failure_rate: Share of failed calls in the window that opens it.
        minimum_calls: Calls in the window before their rate counts.
        probe_s: Seconds after which a probe without an end is taken for lost.
    """

    threshold: int = 5
    timeout_s: float = 300.0
    window_s: float = 60.0
    failure_rate: float = 0.5
    minimum_calls: int = 20
    probe_s: float = 60.0

    def wait_s(self, openings: int) -> float:
        """Seconds to stay open after so many openings in a row (1 or more)."""
        longest = max(LONGEST_TIMEOUT_S, self.timeout_s)
        # The exponent is bounded: an endpoint that is away for a year must not overflow a float.
        return min(self.timeout_s * 2.0 ** min(openings - 1, 30), longest)

    def new_breaker(self) -> Breaker:
        return Breaker(counts=SlidingCounts(self.window_s))


@dataclass(frozen=True, slots=True)
class Breaker:
    """One endpoint's breaker.

    Args:
        status: Closed, open or half-open.
        failures: Failed calls in a row, while closed.
        openings: Times in a row that it opened without a success in between.
        counts: Calls, failures and retries over the window.
        opened_at: When it opened last, epoch seconds.
        retry_at: When the next probe may be made, epoch seconds.
        probe_by: Who makes the probe, while half-open.
        probe_until: When that probe is taken for lost, epoch seconds.
        reason: Why it is as it is, for a person.
    """

    status: Status = Status.CLOSED
    failures: int = 0
    openings: int = 0
    counts: SlidingCounts = field(default_factory=lambda: SlidingCounts(60.0))
    opened_at: float = 0.0
    retry_at: float = 0.0
    probe_by: str | None = None
    probe_until: float = 0.0
    reason: str = ""

    def is_probe_due(self, now: float) -> bool:
        """Whether somebody may make the one probe."""
        match self.status:
            case Status.CLOSED:
                return False
            case Status.OPEN:
                return now >= self.retry_at
            case Status.HALF_OPEN:
                return now >= self.probe_until

    def blocked_until(self, now: float) -> float:
        """Epoch seconds until which nobody may call; `now` or earlier where somebody may."""
        match self.status:
            case Status.CLOSED:
                return now
            case Status.OPEN:
                return self.retry_at
            case Status.HALF_OPEN:
                return self.probe_until


def verdict_of(kind: FailureKind) -> Verdict:
    """What a failed call says about its endpoint.

    Whoever answers is alive, whatever the answer; what stopped before it was asked says nothing.
    """
    rule = RULES[kind]
    if rule.counts_for_breaker:
        return Verdict.AWAY
    waits_for_us = rule.handling is Handling.WAIT and not rule.needs_person
    return Verdict.NOTHING if waits_for_us or kind in _NOT_ASKED else Verdict.ALIVE


def after_successes(breaker: Breaker, calls: int, now: float) -> Breaker:
    """Count calls that succeeded. Only a probe's success closes a breaker that is not closed."""
    if breaker.status is not Status.CLOSED:
        return breaker
    counts = breaker.counts.add(now, calls=calls)
    return replace(breaker, failures=0, openings=0, counts=counts)


def after_failure(breaker: Breaker, said: str, now: float, policy: BreakerPolicy) -> Breaker:
    """Count a call that found the endpoint away, and open the breaker when it was one too many.

    A call that was under way when the breaker opened changes nothing any more.

    Args:
        said: What the call ended with, for the reason.
    """
    if breaker.status is not Status.CLOSED:
        return breaker
    failed = replace(
        breaker,
        failures=breaker.failures + 1,
        counts=breaker.counts.add(now, calls=1, failures=1),
    )
    if failed.failures >= policy.threshold:
        return _opened(
            failed, f"{failed.failures} calls failed in a row; last: {said}", now, policy
        )
    total = failed.counts.total(now)
    is_rate_reached = total.failures >= policy.failure_rate * total.calls
    if total.calls >= policy.minimum_calls and is_rate_reached:
        reason = (
            f"{total.failures} of {total.calls} calls failed within {policy.window_s:g} s; "
            f"last: {said}"
        )
        return _opened(failed, reason, now, policy)
    return failed


def take_probe(breaker: Breaker, holder: str, now: float, policy: BreakerPolicy) -> Breaker:
    """Give the one probe to `holder` if it is due; otherwise the breaker comes back as it was."""
    if not breaker.is_probe_due(now):
        return breaker
    return replace(
        breaker, status=Status.HALF_OPEN, probe_by=holder, probe_until=now + policy.probe_s
    )


def after_probe(
    breaker: Breaker,
    holder: str,
    verdict: Verdict,
    said: str,
    now: float,
    policy: BreakerPolicy,
    probe_until: float | None = None,
) -> Breaker:
    """End a probe. One that was taken for lost meanwhile changes nothing any more.

    Args:
        probe_until: As it was when the probe was taken. It tells two probes of one holder apart;
            None ends whichever he has.
    """
    if breaker.status is not Status.HALF_OPEN or breaker.probe_by != holder:
        return breaker
    if probe_until is not None and probe_until != breaker.probe_until:
        return breaker
    match verdict:
        case Verdict.ALIVE:
            return replace(policy.new_breaker(), reason="a probe succeeded")
        case Verdict.AWAY:
            return _opened(breaker, f"the probe failed; {said}", now, policy)
        case Verdict.NOTHING:
            return replace(
                breaker, status=Status.OPEN, retry_at=now, probe_by=None, probe_until=0.0
            )


def after_retry(breaker: Breaker, now: float) -> Breaker | None:
    """Count one more retry, or None where the endpoint's retry budget is used up."""
    total = breaker.counts.total(now)
    most = max(RETRIES_ALWAYS_ALLOWED, RETRY_SHARE * total.calls)
    if breaker.status is not Status.CLOSED or total.retries + 1 > most:
        return None
    return replace(breaker, counts=breaker.counts.add(now, retries=1))


def _opened(breaker: Breaker, reason: str, now: float, policy: BreakerPolicy) -> Breaker:
    openings = breaker.openings + 1
    return replace(
        breaker,
        status=Status.OPEN,
        openings=openings,
        opened_at=now,
        retry_at=now + policy.wait_s(openings),
        probe_by=None,
        probe_until=0.0,
        reason=reason,
    )


def sentence(name: str, breaker: Breaker) -> str:
    """Say in plain words how the breaker of an endpoint stands."""
    match breaker.status:
        case Status.CLOSED:
            return f"{name} answers again: calls to it go on ({breaker.reason})."
        case Status.OPEN:
            return (
                f"Calls to {name} are paused until {_clock_time(breaker.retry_at)}: "
                f"{breaker.reason.rstrip('.')}. Then one call tries whether it is back."
            )
        case Status.HALF_OPEN:
            return f"One call tries whether {name} is back; the others wait for it."


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
