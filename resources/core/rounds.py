"""What one attempt on a domain leads to: the new state, the rounds used, and when to try again.

Pure: task, outcome and `now` in, a `Change` out. Who carries it out is the ledger; which kinds mean
what is the table in `errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from resources.core.errors import RULES, Failure, FailureKind, Handling
from resources.core.models import DomainTask, Settled, State

LONGEST_WAIT_S = 3600.0
# However long a site asks us to wait: a Retry-After of years must not keep a domain open for ever.
LONGEST_ASKED_WAIT_S = 86_400.0
MAX_BUG_ROUNDS = 2
# Workers that must have died with a domain alone in hand before it is taken for the cause: two, and
# one more for so many workers that died with something else in hand in the last hour.
DEATHS_ALONE = 2
OTHER_DEATHS_PER_DOUBT = 2
MOST_DEATHS_ALONE = 6
OTHER_DEATHS_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class RoundPolicy:
    """How often and how far apart rounds are.

    Args:
        max_rounds: Rounds of a domain over all runs before it is quarantined.
        backoff_base_s: Seconds before the second round; doubles with each further one.
    """

    max_rounds: int
    backoff_base_s: float

    def most_rounds(self, kind: FailureKind) -> int:
        return min(self.max_rounds, MAX_BUG_ROUNDS) if kind is FailureKind.BUG else self.max_rounds

    def wait_s(self, rounds: int) -> float:
        """Seconds to wait after the given number of rounds (1 or more)."""
        return min(
            self.backoff_base_s * 2.0 ** (rounds - 1), max(LONGEST_WAIT_S, self.backoff_base_s)
        )


def is_cause_of_deaths(deaths_alone: int, other_deaths: int) -> bool:
    """Whether a domain is the cause of the workers' deaths, and not just near when they came.

    Where workers die all the time, because somebody kills them or the machine is too small, a few
    of them die with any domain alone in hand: it then takes more of them to be sure.

    Args:
        deaths_alone: Workers that died with this domain alone in hand.
        other_deaths: Other workers that were found dead in the hour before
            (`OTHER_DEATHS_WITHIN_S`).
    """
    needed = DEATHS_ALONE + max(0, other_deaths) // OTHER_DEATHS_PER_DOUBT
    return deaths_alone >= min(needed, MOST_DEATHS_ALONE)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written about a domain after an attempt.

    Args:
        domain: The domain.
        state: Its new state.
        rounds: Rounds used up, this one included.
        not_before: Epoch seconds before which it must not be tried again (for `waiting`).
        asked_to_wait_until: The part of that which the other side asked for, epoch seconds; a
            person who runs it again at once does not override this part.
        kind: Failure kind, where there is one.
        reason: One sentence for a person.
        payload: The result as JSON bytes, where there is one.
        failure: The failure behind it, for the domain's history.
    """

    domain: str
    state: State
    rounds: int
    not_before: float = 0.0
    kind: str | None = None
    reason: str | None = None
    payload: bytes | None = None
    failure: Failure | None = None
    asked_to_wait_until: float = 0.0


def after_attempt(
    task: DomainTask, outcome: Settled | Failure, now: float, policy: RoundPolicy
) -> Change:
    """Decide what an attempt's outcome means for the domain."""
    if isinstance(outcome, Settled):
        return Change(
            domain=task.domain,
            state=outcome.state,
            rounds=task.rounds,
            kind=outcome.kind,
            reason=outcome.reason,
            payload=outcome.payload,
        )
    rule = RULES[outcome.kind]
    match rule.handling:
        case Handling.SETTLE:
            return _failed(task, outcome, rule.state, task.rounds, outcome.message)
        case Handling.WAIT:
            return _waiting(task, outcome, task.rounds, now, 0.0)
        case Handling.ROUND:
            return _used_a_round(task, outcome, now, policy)


def _used_a_round(task: DomainTask, failure: Failure, now: float, policy: RoundPolicy) -> Change:
    rounds = task.rounds + 1
    if rounds >= policy.most_rounds(failure.kind):
        many = "1 round" if rounds == 1 else f"{rounds} rounds"
        reason = f"Given up after {many}. Last: {failure.message}"
        return _failed(task, failure, State.QUARANTINED, rounds, reason)
    return _waiting(task, failure, rounds, now, policy.wait_s(rounds))


def _waiting(
    task: DomainTask, failure: Failure, rounds: int, now: float, own_wait_s: float
) -> Change:
    asked_s = failure.retry_after_s or 0.0
    if not RULES[failure.kind].needs_person:
        asked_s = min(asked_s, LONGEST_ASKED_WAIT_S)
    change = _failed(task, failure, State.WAITING, rounds, failure.message)
    return replace(
        change,
        not_before=now + max(own_wait_s, asked_s),
        # A breaker's pause is our own.
        asked_to_wait_until=0.0
        if failure.kind is FailureKind.BREAKER_OPEN or not asked_s
        else now + asked_s,
    )


def _failed(task: DomainTask, failure: Failure, state: State, rounds: int, reason: str) -> Change:
    return Change(task.domain, state, rounds, 0.0, failure.kind, reason, None, failure)
