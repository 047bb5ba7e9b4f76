"""The time limits of a pass: what may still be begun, how long it may take, and what is said then.

Pure: told the time, never asks for it. How a domain is cut off is in `batch_runner`; the limits of
single calls are with the adapters (`adapters/time_limits`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resources.core.errors import Failure, FailureKind


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of one pass.

    Args:
        phase_timeout_s: No domain is begun later than this after the start.
        domain_timeout_s: Longest time for one domain.
        batch_timeout_s: Longest time of work on one batch, for each `batch_size` of its domains.
        batch_size: How many domains that time is meant for.
        beat_s: Seconds between two beats.
    """

    phase_timeout_s: float
    domain_timeout_s: float
    batch_timeout_s: float
    batch_size: int
    beat_s: float

    def batch_s(self, domains: int) -> float:
        """Seconds of work that a batch of so many domains gets."""
        return self.batch_timeout_s * max(1, math.ceil(domains / self.batch_size))


@dataclass(frozen=True, slots=True)
class Allowance:
    """How long one domain may take.

    Args:
        seconds: From now on.
        failure: What it has failed with once they are over.
        is_of_batch: Whether it is the batch's time that is over then.
    """

    seconds: float
    failure: Failure
    is_of_batch: bool


class PassTimes:
    """How much of its limits a pass has used up. Told what is taken in hand and let go, and when.

    A batch's time begins with its first domain in hand and runs while it has any in hand. Batches
    are streamed: one claim fills the free places with the rest of one batch and the beginning of
    the next, so that a batch may begin with a few domains beside another one's last. It is not
    robbed of its time by that: domains are claimed in the order of the batches, so that whatever
    place comes free is its own before any later batch's, and what is still in hand of earlier ones
    ends within the limit of a domain. While nothing of it is in hand its time stands still: domains
    in whose hands workers died are worked on last of all, long after the others of their batch.

    Args:
        sizes: Domains of each batch, settled ones included.
        started_at: Start of the pass, epoch seconds.
    """

    def __init__(self, limits: RunLimits, sizes: Mapping[str, int], started_at: float) -> None:
        self._limits = limits
        self._limit_s = {key: limits.batch_s(size) for key, size in sizes.items()}
        self._started_at = started_at
        self._in_hand: Counter[str] = Counter()
        self._since: dict[str, float] = {}
        self._used_s: defaultdict[str, float] = defaultdict(float)
        self._over: set[str] = set()
        self._told: set[str] = set()
        limit_s = limits.domain_timeout_s
        message = f"the limit of {limit_s:g} s for one domain was reached (domain_timeout)"
        failure = Failure(FailureKind.TIMEOUT, message)
        self._of_a_domain = Allowance(limit_s, failure, is_of_batch=False)

    def take(self, batch_key: str, now: float) -> None:
        """A domain of the batch is in hand."""
        self._in_hand[batch_key] += 1
        self._since.setdefault(batch_key, now)

    def let_go(self, batch_key: str, now: float) -> None:
        """A domain of the batch is no longer in hand."""
        self._in_hand[batch_key] -= 1
        if self._in_hand[batch_key] == 0:
            self._used_s[batch_key] += max(0.0, now - self._since.pop(batch_key))

    def allowance(self, batch_key: str, now: float) -> Allowance:
        """How long a domain of the batch that is begun now may take."""
        domain_s = self._limits.domain_timeout_s
        left_s = self._left_s(batch_key, now)
        if left_s < domain_s:
            message = f"{self._batch_limit(batch_key)} with this domain in hand"
            return Allowance(left_s, Failure(FailureKind.TIMEOUT, message), is_of_batch=True)
        return self._of_a_domain

    def refusal(self, batch_key: str, now: float) -> Failure | None:
        """Why no domain of the batch may be begun any more, or None when it may."""
        if (is_over := self.pass_is_over(now)) is not None:
            return is_over
        return self.rest_of(batch_key) if self.is_over(batch_key, now) else None

    def pass_is_over(self, now: float) -> Failure | None:
        """What everything waits for that is left when the time of the pass is over."""
        limit_s = self._limits.phase_timeout_s
        if now - self._started_at < limit_s:
            return None
        message = (
            f"the limit of {limit_s:g} s for one step was reached (phase_timeout); "
            "what is left waits for the next run"
        )
        return Failure(FailureKind.CANCELLED, message)

    def is_over(self, batch_key: str, now: float) -> bool:
        """Whether the batch's time is used up; once it is, it stays so."""
        if self._left_s(batch_key, now) <= 0.0:
            self._over.add(batch_key)
        return batch_key in self._over

    def not_over(self, batch_keys: Sequence[str], now: float) -> list[str]:
        """Those of the batches whose time is not used up."""
        # What was never in hand has used nothing of it.
        return [
            key
            for key in batch_keys
            if not (key in self._since or key in self._used_s) or not self.is_over(key, now)
        ]

    def end_batch(self, batch_key: str) -> None:
        """A domain was cut off at the batch's limit: whatever the clock says, nothing more of it
        is begun. The timer that cuts off may be a moment ahead of the clock."""
        self._over.add(batch_key)

    def newly_over(self, now: float) -> list[str]:
        """Batches whose time is used up and of which that was not told before."""
        for key in self._since:
            self.is_over(key, now)
        found = sorted(self._over - self._told)
        self._told.update(found)
        return found

    def rest_of(self, batch_key: str) -> Failure:
        """What the domains wait for that a batch's time was too short for."""
        message = f"{self._batch_limit(batch_key)}; what is left waits for the next run or retry"
        return Failure(FailureKind.CANCELLED, message)

    def _left_s(self, batch_key: str, now: float) -> float:
        since = self._since.get(batch_key, now)
        return self._limit_s[batch_key] - self._used_s[batch_key] - max(0.0, now - since)

    def _batch_limit(self, batch_key: str) -> str:
        limit_s = self._limit_s[batch_key]
        return f"the limit of {limit_s:g} s for batch {batch_key} was reached (batch_timeout)"
