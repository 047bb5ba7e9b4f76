"""What one attempt leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.errors import RULES, Failure, FailureKind, Handling
from resources.core.models import CompanyQuery, DomainTask, Settled, State
from resources.core.rounds import (
    LONGEST_ASKED_WAIT_S,
    LONGEST_WAIT_S,
    MAX_BUG_ROUNDS,
    RoundPolicy,
    after_attempt,
    is_cause_of_deaths,
)

NOW = 1_800_000_000.0
POLICY = RoundPolicy(max_rounds=8, backoff_base_s=60)
OF = {
    handling: [kind for kind in FailureKind if RULES[kind].handling is handling]
    for handling in Handling
}


def _task(rounds: int = 0) -> DomainTask:
    return DomainTask(CompanyQuery("acme.example"), "list-00001", rounds=rounds)


def test_a_result_is_written_as_it_is_and_uses_no_round() -> None:
    settled = Settled(State.SUCCEEDED, payload=b"{}")
    change = after_attempt(_task(rounds=3), settled, NOW, POLICY)
    assert (change.state, change.payload, change.rounds) == (State.SUCCEEDED, b"{}", 3)
    assert change.failure is None


@pytest.mark.parametrize("kind", OF[Handling.SETTLE])
def test_a_final_kind_settles_at_once_without_a_round(kind: FailureKind) -> None:
    change = after_attempt(_task(), Failure(kind, "why"), NOW, POLICY)
    assert change.state is RULES[kind].state
    assert (change.rounds, change.kind, change.reason) == (0, kind, "why")


@pytest.mark.parametrize("kind", OF[Handling.WAIT])
def test_a_wait_uses_no_round_however_often(kind: FailureKind) -> None:
    change = after_attempt(_task(rounds=7), Failure(kind, "why"), NOW, POLICY)
    assert (change.state, change.rounds) == (State.WAITING, 7)
    assert change.not_before == NOW


@pytest.mark.parametrize("kind", [kind for kind in OF[Handling.ROUND] if kind != "bug"])
def test_a_retryable_failure_is_quarantined_after_its_last_round(kind: FailureKind) -> None:
    states = [
        after_attempt(_task(rounds), Failure(kind, "why"), NOW, POLICY).state for rounds in range(8)
    ]
    assert states == [State.WAITING] * 7 + [State.QUARANTINED]


def test_a_bug_is_given_up_after_two_rounds() -> None:
    bug = Failure(FailureKind.BUG, "why", stack="Traceback")
    assert after_attempt(_task(0), bug, NOW, POLICY).state is State.WAITING
    assert after_attempt(_task(1), bug, NOW, POLICY).state is State.QUARANTINED
    assert POLICY.most_rounds(FailureKind.BUG) == MAX_BUG_ROUNDS


def test_fewer_rounds_than_two_hold_for_bugs_too() -> None:
    assert RoundPolicy(1, 60).most_rounds(FailureKind.BUG) == 1


def test_a_given_up_domain_says_how_often_it_was_tried_and_why_it_failed_last() -> None:
    change = after_attempt(_task(7), Failure(FailureKind.TLS, "handshake failed"), NOW, POLICY)
    assert change.reason == "Given up after 8 rounds. Last: handshake failed"


def test_waits_double_from_the_base_up_to_an_hour() -> None:
    assert [POLICY.wait_s(rounds) for rounds in range(1, 9)] == [
        60,
        120,
        240,
        480,
        960,
        1920,
        LONGEST_WAIT_S,
        LONGEST_WAIT_S,
    ]


def test_a_base_of_zero_means_no_wait() -> None:
    assert RoundPolicy(8, 0).wait_s(5) == 0


def test_what_the_other_side_asks_for_goes_before_the_own_wait_when_longer() -> None:
    failure = Failure(FailureKind.RATE_LIMITED, "why", retry_after_s=600)
    change = after_attempt(_task(), failure, NOW, POLICY)
    assert (change.not_before, change.asked_to_wait_until) == (NOW + 600, NOW + 600)


def test_a_shorter_wait_than_our_own_does_not_hurry_us() -> None:
    failure = Failure(FailureKind.RATE_LIMITED, "why", retry_after_s=5)
    change = after_attempt(_task(), failure, NOW, POLICY)
    assert (change.not_before, change.asked_to_wait_until) == (NOW + 60, NOW + 5)


def test_a_site_that_asks_for_years_is_tried_again_the_next_day() -> None:
    failure = Failure(FailureKind.HTTP_5XX, "why", retry_after_s=999_999_999)
    change = after_attempt(_task(), failure, NOW, POLICY)
    assert change.not_before == change.asked_to_wait_until == NOW + LONGEST_ASKED_WAIT_S


def test_a_new_credit_period_may_be_further_away_than_a_day() -> None:
    failure = Failure(FailureKind.QUOTA_EXHAUSTED, "why", retry_after_s=20 * 86_400)
    assert after_attempt(_task(), failure, NOW, POLICY).not_before == NOW + 20 * 86_400


@given(
    kind=st.sampled_from(FailureKind),
    rounds=st.integers(0, 200),
    asked=st.none() | st.floats(0, 1e9),
    most=st.integers(1, 100),
    base=st.floats(0, 3600),
)
def test_no_failure_takes_a_round_away_or_leads_back_in_time(
    kind: FailureKind, rounds: int, asked: float | None, most: int, base: float
) -> None:
    policy = RoundPolicy(most, base)
    failure = Failure(kind, "why", retry_after_s=asked)
    change = after_attempt(_task(rounds), failure, NOW, policy)
    assert change.rounds - rounds == (RULES[kind].handling is Handling.ROUND)
    assert change.failure is failure
    if change.state is State.WAITING:
        assert change.not_before >= max(NOW, change.asked_to_wait_until)
    if RULES[kind].handling is Handling.ROUND and change.rounds >= most:
        assert change.state is State.QUARANTINED


@pytest.mark.parametrize(
    ("deaths_alone", "other_deaths", "is_cause"),
    [(1, 0, False), (2, 0, True), (2, 1, True), (2, 2, False), (3, 3, True), (3, 4, False)]
    + [(5, 500, False), (6, 500, True)],
)
def test_a_domain_is_the_cause_only_where_deaths_are_not_what_happens_anyway(
    deaths_alone: int, other_deaths: int, is_cause: bool
) -> None:
    assert is_cause_of_deaths(deaths_alone, other_deaths) is is_cause
