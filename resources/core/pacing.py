"""How fast an endpoint may be asked: token bucket, slots for calls in flight, and slowing down.

Pure: a pace, what happened and `now` in, a pace out. A provider's pace is shared by all processes:
each draws a few tokens at a time from the one bucket, and holds a share of the slots. The rate is
halved when the other side says that it is too much, and grows back steadily (additive increase,
multiplicative decrease). Nothing is sent before the time that the other side named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

LEAST_RATE_SHARE = 0.01
RECOVERED_PER_S = 0.02
"""Share of the full rate that comes back each second: from half to full in 25 s."""
PAUSE_S = 1.0
"""Wait after "too many requests" without a time named, and the shortest one with a time: calls
under way together must find a pause to complain in together."""
LONGEST_PAUSE_S = 86_400.0
"""However long the other side asks us to wait: a Retry-After of years is a mistake of its own."""
LEAST_WAIT_S = 0.001
"""A wait shorter than the clock can tell would be asked for again and again."""
CLOCK_STEP_S = 60.0
"""A bucket that was filled later than this from now was filled by a clock since set back."""
TURN_S = 10.0
FIRST_PENALTY_S = 1.0
MOST_PENALTY_S = 60.0
LEAST_PENALTY_S = 0.1
PENALTY_KEPT = 0.8
"""Of a site's penalty, after each good answer: ten of them bring a second down to a tenth."""
BLOCK_S = 0.25
"""Tokens are drawn for so many seconds at a time: what another process learns about the endpoint
reaches this one with the next draw."""


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """What an endpoint may be asked at most, by all processes together.

    Args:
        rate: Calls a second.
        burst: Calls at once after a pause; 1 or more.
        concurrency: Calls in flight.
    """

    rate: float
    burst: float
    concurrency: int

    def new_pace(self, now: float) -> Pace:
        return Pace(self.rate, self.burst, now)


@dataclass(frozen=True, slots=True)
class Pace:
    """One endpoint's bucket.

    Args:
        rate: Calls a second at present; below the limit after the other side complained.
        tokens: Calls that may be made at once.
        filled_at: When `tokens` was right, epoch seconds.
        not_before: Nothing is sent earlier, epoch seconds.
        reason: Why it is slower than the limit, for a person.
    """

    rate: float
    tokens: float
    filled_at: float
    not_before: float = 0.0
    reason: str = ""


def refilled(pace: Pace, limits: PaceLimits, now: float) -> Pace:
    """The bucket as it is now: tokens that came in since, and the rate that grew back."""
    elapsed_s = max(0.0, now - max(pace.filled_at, pace.not_before))
    # The limit may have been another one when this was written.
    before = min(limits.rate, max(pace.rate, LEAST_RATE_SHARE * limits.rate))
    rate = min(limits.rate, before + RECOVERED_PER_S * limits.rate * elapsed_s)
    tokens = min(limits.burst, pace.tokens + before * elapsed_s)
    reason = pace.reason if rate < limits.rate or now < pace.not_before else ""
    is_set_back = pace.filled_at > now + CLOCK_STEP_S
    filled_at = now if is_set_back else max(now, pace.filled_at)
    return replace(pace, rate=rate, tokens=tokens, filled_at=filled_at, reason=reason)


def draw(pace: Pace, limits: PaceLimits, wanted: int, now: float) -> tuple[Pace, int, float]:
    """Take up to `wanted` tokens.

    Returns: the bucket afterwards, tokens taken, and seconds until the next try is worth it (0
        where any were taken).
    """
    if now < pace.not_before:
        return pace, 0, pace.not_before - now
    full = refilled(pace, limits, now)
    taken = min(wanted, int(full.tokens))
    if taken <= 0:
        return full, 0, max(LEAST_WAIT_S, (1.0 - full.tokens) / full.rate)
    return replace(full, tokens=full.tokens - taken), taken, 0.0


def tokens_to_draw(pace: Pace, free_slots: int, waiting: int, likely: int) -> int:
    """How many tokens are worth drawing at a time; one that is not used is lost.

    Args:
        free_slots: Slots that the process holds and does not use; without one nothing begins.
        waiting: Its calls that wait to begin.
        likely: Calls that are likely to begin before the next draw, those included.
    """
    if free_slots <= 0:
        return 0
    return min(max(min(waiting, free_slots), likely), max(1, round(pace.rate * BLOCK_S)))


def slowed(
    pace: Pace, limits: PaceLimits, asked_wait_s: float | None, reason: str, now: float
) -> Pace:
    """Go slower, because the other side said so.

    Calls that were under way together complain together: while a pause lasts the rate is halved
    only once.

    Args:
        asked_wait_s: Seconds that it asked us to wait; None where it named no time.
    """
    full = refilled(pace, limits, now)
    wait_s = max(PAUSE_S, 1.0 / full.rate if asked_wait_s is None else asked_wait_s)
    rate = full.rate
    if now >= pace.not_before:
        rate = max(LEAST_RATE_SHARE * limits.rate, full.rate / 2.0)
    return replace(
        full,
        rate=rate,
        # After the pause it begins with one call and not with a burst.
        tokens=min(full.tokens, 1.0),
        not_before=max(pace.not_before, now + min(wait_s, LONGEST_PAUSE_S)),
        reason=reason,
    )


def held_until(pace: Pace, at: float, now: float) -> Pace:
    """Send nothing before a time (epoch seconds), at the same rate as before."""
    return replace(pace, not_before=max(pace.not_before, min(at, now + LONGEST_PAUSE_S)))


@dataclass(frozen=True, slots=True)
class Grant:
    """What one process may do now.

    Args:
        tokens: Calls that it may begin.
        slots: Calls that it may have in flight, all together.
        wait_s: Seconds until it is worth asking for tokens again; 0 where it got some, and where
            it is a slot that is missing.
        not_before: Nothing is sent earlier, epoch seconds.
        reason: Why it must wait, where the other side said something.
    """

    tokens: int
    slots: int
    wait_s: float
    not_before: float
    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one process holds of an endpoint's slots, and how many it could use."""

    slots: int
    wanted: int


def slots_for(
    me: str,
    wanted: int,
    others: Mapping[str, Share],
    limit: int,
    now: float,
    *,
    in_flight: int = 0,
) -> int:
    """How many slots this process may hold now.

    Everybody's share is fair: nobody gets more than he wants, and what is left over goes to those
    that want more. What others hold beyond their share is theirs until they give it back, and a
    slot is given back only when its call has ended. Where there are more processes than slots they
    take turns.

    Args:
        wanted: Calls of this process in flight, and those that wait.
        others: The other processes' shares.
        limit: Slots of the endpoint.
        in_flight: Calls of this process that are under way; they hold their slots.
    """
    wishes = {name: share.wanted for name, share in others.items()} | {me: wanted}
    fair = _fair_shares(wishes, limit, int(now / TURN_S)).get(me, 0)
    free = limit - sum(share.slots for share in others.values())
    return max(in_flight, min(fair, free))


def _fair_shares(wishes: Mapping[str, int], limit: int, turn: int) -> dict[str, int]:
    """The slots by process, of those that want any."""
    by_turn = sorted((name for name in wishes if wishes[name] > 0), key=lambda n: _place(n, turn))
    # Where some get nothing, it must not always be those who want more.
    order = sorted(by_turn, key=wishes.__getitem__) if len(by_turn) <= limit else by_turn
    left = limit
    shares = {}
    for place, name in enumerate(order):
        among = len(order) - place
        # Rounded up, so that the last of them finds what the others left and none lies idle.
        shares[name] = min(wishes[name], -(-left // among))
        left -= shares[name]
    return shares


def _place(name: str, turn: int) -> bytes:
    return hashlib.blake2b(f"{name} {turn}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class SitePace:
    """How one site's host is asked by the process that has it in hand.

    Args:
        latency_s: What its answers take, smoothed.
        next_at: The next call may begin then, epoch seconds.
        penalty_s: Least time between the begins of two calls, after the site complained.
    """

    latency_s: float = 0.0
    next_at: float = 0.0
    penalty_s: float = 0.0


def after_start(pace: SitePace, connections: int, crawl_delay_s: float, now: float) -> SitePace:
    """A call begins: the next one waits for the site's own delay, or as its latency tells.

    With the latency spread over the connections, as many calls are under way as there may be and
    no more, and a site that becomes slow is asked slower.
    """
    delay_s = max(crawl_delay_s, pace.latency_s / connections, pace.penalty_s)
    return replace(pace, next_at=now + delay_s)


def after_complaint(pace: SitePace) -> SitePace:
    """The site said that it is too much for it (429, 503 or another error of its own): from now on
    it is asked half as often, until it has answered well for a while."""
    penalty_s = min(MOST_PENALTY_S, max(FIRST_PENALTY_S, 2.0 * pace.penalty_s))
    return replace(pace, penalty_s=penalty_s)


def after_answer(pace: SitePace, latency_s: float, *, is_good: bool) -> SitePace:
    """An answer came. A quick error must not make us faster."""
    if is_good and pace.penalty_s:
        eased_s = pace.penalty_s * PENALTY_KEPT
        pace = replace(pace, penalty_s=eased_s if eased_s >= LEAST_PENALTY_S else 0.0)
    smoothed = latency_s if pace.latency_s == 0.0 else (pace.latency_s + latency_s) / 2.0
    if not is_good and smoothed < pace.latency_s:
        return pace
    return replace(pace, latency_s=smoothed)
