"""When to try one call again, within a round: pure decisions for the request tier.

Exponential back-off with full jitter from an injected source, capped; what the other side asked
for (Retry-After) goes first. Waits longer than the cap are not slept here: the domain waits in
the ledger instead, and the slot is free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from resources.core.errors import RULES, Failure, Handling

# More digits than this say nothing more; who waits sets a limit of its own.
MOST_SECONDS_READ = 999_999_999.0
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently one call is tried.

    Args:
        attempts: Tries in all, 1 or more.
        base_s: Upper bound of the first wait, seconds; doubles with each try.
        cap_s: Longest wait between two tries, seconds.
    """

    attempts: int = 3
    base_s: float = 0.25
    cap_s: float = 8.0


def wait_before_retry(
    failure: Failure, tries: int, policy: RetryPolicy, random: Random
) -> float | None:
    """Seconds to wait before trying the call again, or None when this round is over.

    Args:
        failure: What the last try ended with.
        tries: Tries made so far, 1 or more.
    """
    if tries >= policy.attempts or RULES[failure.kind].handling is not Handling.ROUND:
        return None
    if failure.retry_after_s is not None and failure.retry_after_s > policy.cap_s:
        return None
    jittered = random.uniform(0, min(policy.cap_s, policy.base_s * 2.0 ** (tries - 1)))
    return max(jittered, failure.retry_after_s or 0.0)


def parse_retry_after(value: str | None, now: float, date: str | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, in either form; None when it can't be read.

    A time is counted from the answer's own Date where it has one: both are then read off the other
    side's clock, and it does not matter how wrong that clock (or ours) is. Decimals are taken
    because some servers send them.

    Args:
        value: The header, or None without one.
        now: Epoch seconds by our clock, for a time without a (readable) Date beside it.
        date: The Date header of the same answer.

    Returns: seconds, 0 or more; a time that is over is 0.

    Source: RFC 9110 sections 10.2.3 and 6.6.1.

    >>> parse_retry_after("120", now=0.0)
    120.0
    >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=15.0)
    45.0
    >>> wrong = "Sat, 01 Jan 2000 00:00:30 GMT"
    >>> parse_retry_after("Sat, 01 Jan 2000 00:01:00 GMT", now=15.0, date=wrong)
    30.0
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MOST_SECONDS_READ)
    until = _moment(text)
    if until is None:
        return None
    sent_at = _moment((date or "").strip())
    return max(0.0, until - (now if sent_at is None else sent_at))


def _moment(text: str) -> float | None:
    """Epoch seconds of an HTTP date, or None."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
