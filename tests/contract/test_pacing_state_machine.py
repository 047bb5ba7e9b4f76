"""Processes draw tokens and slots, hear complaints and die in any order: what holds then."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from resources.adapters.ledger.paces import SHARE_LEASE_S
from resources.core.pacing import (
    LEAST_RATE_SHARE,
    LONGEST_PAUSE_S,
    Grant,
    PaceLimits,
)
from tests.support.places import PROCESSES, Place
from tests.support.time import NOW

LIMITS = PaceLimits(rate=8.0, burst=5.0, concurrency=4)
ENDPOINT = "pdl"
RENEWED_AFTER_S = 5.0
"""A living process draws its share again long before it lapses."""
WHO = st.integers(0, PROCESSES - 1)
ASKED = st.sampled_from([None, 0.0, 0.5, 2.0, 20.0, 1e9])


class Paces(RuleBasedStateMachine):
    """Three processes on one book of paces; beside it, all that was granted and asked for."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.books = place.paces()
        self.now = NOW
        self.names = [f"worker-{who}" for who in range(PROCESSES)]
        self.in_flight = [0] * PROCESSES
        self.granted: list[tuple[float, int]] = []
        self.not_before = 0.0
        self.looks = 0

    # -- what processes do ----------------------------------------------------------------------

    @rule(who=WHO, waiting=st.integers(1, 6), likely=st.integers(0, 6))
    def call(self, who: int, waiting: int, likely: int) -> None:
        self._call(who, waiting, likely)

    def _call(self, who: int, waiting: int, likely: int = 0) -> int:
        """Draw, and begin all calls that may begin."""
        grant = self._draw(who, waiting, likely)
        assert 0 <= grant.tokens <= max(waiting, likely)
        if grant.tokens:
            assert self.now >= self.not_before
            assert grant.slots > self.in_flight[who]
            self.granted.append((self.now, grant.tokens))
            self.in_flight[who] += min(grant.tokens, waiting, grant.slots - self.in_flight[who])
        return grant.tokens

    @rule(who=WHO, rounds=st.integers(2, 5))
    def make_calls_that_end_at_once(self, who: int, rounds: int) -> None:
        for _ in range(rounds):
            self._call(who, LIMITS.concurrency)
            self.in_flight[who] = 0

    @rule(who=WHO, newcomer=WHO)
    def want_slots_that_somebody_uses(self, who: int, newcomer: int) -> None:
        for caller in (who, who, who, newcomer, who, newcomer):
            self._call(caller, LIMITS.concurrency)

    @rule(who=WHO, calls=st.integers(1, 4))
    def calls_end(self, who: int, calls: int) -> None:
        self.in_flight[who] = max(0, self.in_flight[who] - calls)

    @rule(who=WHO)
    def give_back_what_is_not_used(self, who: int) -> None:
        grant = self._draw(who, 0)
        assert (grant.tokens, grant.slots) == (0, self.in_flight[who])

    @rule(who=WHO, asked_s=ASKED)
    def hear_a_complaint(self, who: int, asked_s: float | None) -> None:
        is_new = self.now >= self.not_before
        pace = self.books[who].slow_down(ENDPOINT, LIMITS, asked_s, "HTTP 429", self.now)
        assert pace.not_before >= self.now + min(asked_s or 0.0, LONGEST_PAUSE_S)
        assert self.not_before <= pace.not_before
        assert pace.not_before <= max(self.not_before, self.now + LONGEST_PAUSE_S)
        assert pace.rate >= LEAST_RATE_SHARE * LIMITS.rate
        assert pace.rate <= (LIMITS.rate / 2 if is_new else LIMITS.rate)
        self.not_before = pace.not_before

    @rule(who=WHO, seconds=st.sampled_from([-1.0, 1.0, 30.0]))
    def learn_that_nothing_is_left(self, who: int, seconds: float) -> None:
        self.books[who].hold_until(ENDPOINT, LIMITS, self.now + seconds, self.now)
        self.not_before = max(self.not_before, self.now + seconds)

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """A process is killed, and its calls with it; its share lapses by itself."""
        self.in_flight[who] = 0
        self.names[who] += "'"

    @rule(who=WHO)
    def leave(self, who: int) -> None:
        self.in_flight[who] = 0
        self.books[who].leave(self.names[who])

    @rule(seconds=st.sampled_from([0.07, 0.25, 1.0, 7.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + RENEWED_AFTER_S)
            for who in range(PROCESSES):
                if seconds >= RENEWED_AFTER_S and self.in_flight[who]:
                    self._draw(who, 0)

    @rule()
    def wait_until_the_pause_is_over(self) -> None:
        for who in range(PROCESSES):
            self.calls_end(who, LIMITS.concurrency)
        self.now = max(self.now, self.not_before)

    @rule(who=WHO)
    def a_day_passes_and_the_old_is_forgotten_while_somebody_calls(self, who: int) -> None:
        self.now += 100_000.0
        self.in_flight = [0] * PROCESSES
        self.make_calls_that_end_at_once(who, 4)
        self.books[who].forget_old(self.now)
        self.make_calls_that_end_at_once(who, 1)

    @rule()
    def all_of_them_get_their_turn(self) -> None:
        """Once the dead are forgotten and nobody keeps a slot, each may call before long."""
        self.wait_until_the_pause_is_over()
        self.now += SHARE_LEASE_S
        without = set(range(PROCESSES))
        for _ in range(12):
            without -= {who for who in sorted(without) if self._call(who, 1)}
            if not without:
                return
            self.now += 0.25
        raise AssertionError(f"{without} may not call")

    # -- what holds always ----------------------------------------------------------------------

    @invariant()
    def no_more_calls_are_in_flight_than_there_are_slots(self) -> None:
        assert sum(self.in_flight) <= LIMITS.concurrency

    @invariant()
    def in_no_interval_is_more_granted_than_burst_and_rate_allow(self) -> None:
        if not self.granted:
            return
        end, total = self.granted[-1][0], 0
        for start, tokens in reversed(self.granted):
            total += tokens
            assert total <= LIMITS.burst + LIMITS.rate * (end - start) + 1e-6

    @invariant()
    def everybody_knows_of_the_pause(self) -> None:
        self.looks += 1
        waits = self.books[self.looks % PROCESSES].waits(self.now)
        assert waits == ({ENDPOINT: self.not_before} if self.not_before > self.now else {})

    def _draw(self, who: int, waiting: int, likely: int = 0) -> Grant:
        return self.books[who].draw(
            ENDPOINT,
            self.names[who],
            LIMITS,
            in_flight=self.in_flight[who],
            waiting=waiting,
            now=self.now,
            likely=likely,
        )


def test_no_process_calls_too_much_too_soon_or_never(place: Place) -> None:
    # A step costs next to nothing in memory, and a synced commit on a database.
    examples = 10 if place.ledgers else 80
    run_state_machine_as_test(
        lambda: Paces(place), settings=settings(max_examples=examples, stateful_step_count=50)
    )
