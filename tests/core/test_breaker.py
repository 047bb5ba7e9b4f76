"""When a breaker opens, who may try whether an endpoint is back, and how many retries there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.breaker import (
    LONGEST_TIMEOUT_S,
    Breaker,
    BreakerPolicy,
    Status,
    Verdict,
    after_failure,
    after_probe,
    after_retry,
    after_successes,
    sentence,
    take_probe,
    verdict_of,
)
from resources.core.errors import FailureKind
from resources.core.sliding_counts import SLOTS_IN_WINDOW
from tests.support.time import NOW

POLICY = BreakerPolicy(
    threshold=3, timeout_s=100, window_s=60, failure_rate=0.5, minimum_calls=10, probe_s=30
)
BY_RATE = replace(POLICY, threshold=1000)

VERDICTS = {
    # It did not answer, or with an error of its own.
    FailureKind.TIMEOUT: Verdict.AWAY,
    FailureKind.CONNECT: Verdict.AWAY,
    FailureKind.DNS: Verdict.AWAY,
    FailureKind.TLS: Verdict.AWAY,
    FailureKind.HTTP_5XX: Verdict.AWAY,
    # It answered, if only to complain.
    FailureKind.RATE_LIMITED: Verdict.ALIVE,
    FailureKind.QUOTA_EXHAUSTED: Verdict.ALIVE,
    FailureKind.AUTH: Verdict.ALIVE,
    FailureKind.TLS_CERTIFICATE: Verdict.ALIVE,
    FailureKind.NOT_FOUND: Verdict.ALIVE,
    FailureKind.GONE: Verdict.ALIVE,
    FailureKind.TOO_LARGE: Verdict.ALIVE,
    FailureKind.UNSUPPORTED_CONTENT: Verdict.ALIVE,
    FailureKind.MALFORMED: Verdict.ALIVE,
    FailureKind.HTTP_4XX: Verdict.ALIVE,
    # It was not asked, or it is our own fault that there is no answer.
    FailureKind.BREAKER_OPEN: Verdict.NOTHING,
    FailureKind.LIMITER: Verdict.NOTHING,
    FailureKind.BUDGET_EXHAUSTED: Verdict.NOTHING,
    FailureKind.STORE: Verdict.NOTHING,
    FailureKind.LOCAL_NETWORK: Verdict.NOTHING,
    FailureKind.CANCELLED: Verdict.NOTHING,
    FailureKind.LEASE_LOST: Verdict.NOTHING,
    FailureKind.NO_SUCH_HOST: Verdict.NOTHING,
    FailureKind.ROBOTS: Verdict.NOTHING,
    FailureKind.BLOCKED_ADDRESS: Verdict.NOTHING,
    FailureKind.BUG: Verdict.NOTHING,
}


def _new(policy: BreakerPolicy = POLICY) -> Breaker:
    return policy.new_breaker()


def _failed(
    breaker: Breaker, times: int = 1, at: float = NOW, policy: BreakerPolicy = POLICY
) -> Breaker:
    return reduce(lambda b, _: after_failure(b, "HTTP 503", at, policy), range(times), breaker)


def _opened(policy: BreakerPolicy = POLICY) -> Breaker:
    breaker = _failed(_new(policy), policy.threshold, policy=policy)
    assert breaker.status is Status.OPEN
    return breaker


def _probing(holder: str = "me", policy: BreakerPolicy = POLICY) -> Breaker:
    opened = _opened(policy)
    breaker = take_probe(opened, holder, opened.retry_at, policy)
    assert (breaker.status, breaker.probe_by) == (Status.HALF_OPEN, holder)
    return breaker


# -- what a call says -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FailureKind)
def test_each_kind_of_failure_says_whether_the_endpoint_is_there(kind: FailureKind) -> None:
    assert verdict_of(kind) is VERDICTS[kind]


# -- opening ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_failures_in_a_row_open_it_at_the_threshold_and_not_before(threshold: int) -> None:
    policy = replace(POLICY, threshold=threshold)
    almost = _failed(_new(policy), threshold - 1, policy=policy)
    assert (almost.status, almost.failures) == (Status.CLOSED, threshold - 1)
    opened = _failed(almost, policy=policy)
    assert (opened.status, opened.openings) == (Status.OPEN, 1)
    assert (opened.opened_at, opened.retry_at) == (NOW, NOW + 100)
    assert opened.reason == f"{threshold} calls failed in a row; last: HTTP 503"


def test_a_success_in_between_begins_the_row_anew() -> None:
    breaker = after_successes(_failed(_new(), 2), 1, NOW)
    assert breaker.failures == 0
    assert _failed(breaker, 2).status is Status.CLOSED
    assert _failed(breaker, 3).status is Status.OPEN


@pytest.mark.parametrize(
    ("successes", "failures", "status"),
    [
        (5, 4, Status.CLOSED),  # too few calls to tell
        (5, 5, Status.OPEN),
        (0, 9, Status.CLOSED),
        (0, 10, Status.OPEN),
        (20, 19, Status.CLOSED),
        (20, 20, Status.OPEN),
        (1000, 999, Status.CLOSED),
    ],
)
def test_it_opens_by_the_rate_of_failures_once_there_are_enough_calls(
    successes: int, failures: int, status: Status
) -> None:
    breaker = after_successes(_new(), successes, NOW)
    breaker = _failed(breaker, failures, policy=BY_RATE)
    assert breaker.status is status


def test_the_reason_for_opening_by_rate_says_the_rate() -> None:
    breaker = _failed(after_successes(_new(), 5, NOW), 5, policy=BY_RATE)
    assert breaker.reason == "5 of 10 calls failed within 60 s; last: HTTP 503"


def test_calls_outside_the_window_do_not_count_for_the_rate() -> None:
    breaker = _failed(_new(), 9, policy=BY_RATE)
    assert _failed(breaker, at=NOW + 61, policy=BY_RATE).status is Status.CLOSED
    assert _failed(breaker, at=NOW + 10, policy=BY_RATE).status is Status.OPEN


@given(
    outcomes=st.lists(st.booleans(), max_size=60),
    threshold=st.integers(1, 8),
    minimum=st.integers(1, 30),
    rate=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_it_opens_with_the_first_failure_that_reaches_a_limit(
    outcomes: list[bool], threshold: int, minimum: int, rate: float
) -> None:
    policy = replace(POLICY, threshold=threshold, minimum_calls=minimum, failure_rate=rate)
    breaker = _new(policy)
    for number, is_success in enumerate(outcomes, 1):
        past = outcomes[:number]
        row = number - 1 - max((n for n, one in enumerate(past) if one), default=-1)
        is_reached = past.count(False) >= rate * number and number >= minimum
        if is_success:
            breaker = after_successes(breaker, 1, NOW)
        else:
            breaker = _failed(breaker, policy=policy)
        should_be_open = not is_success and (row >= threshold or is_reached)
        assert (breaker.status is Status.OPEN) == should_be_open
        if should_be_open:
            return


# -- while it is not closed -------------------------------------------------------------------


@pytest.mark.parametrize("breaker", [_opened(), _probing()], ids=["open", "half_open"])
def test_calls_that_were_under_way_when_it_opened_change_nothing(breaker: Breaker) -> None:
    late = NOW + 100_000
    assert after_successes(breaker, 10, late) == breaker
    assert _failed(breaker, 10, at=late) == breaker
    assert after_retry(breaker, late) is None


def test_nobody_may_call_before_the_time_is_over_and_then_one_may_try() -> None:
    breaker = _opened()
    assert breaker.blocked_until(NOW) == NOW + 100
    assert take_probe(breaker, "me", NOW + 99.9, POLICY) == breaker
    assert not breaker.is_probe_due(NOW + 99.9)
    assert breaker.is_probe_due(NOW + 100)
    probing = take_probe(breaker, "me", NOW + 100, POLICY)
    assert (probing.status, probing.probe_by) == (Status.HALF_OPEN, "me")
    assert probing.probe_until == probing.blocked_until(NOW + 100) == NOW + 130


def test_a_closed_breaker_holds_nobody_up_and_has_no_probe() -> None:
    breaker = _failed(_new(), 2)
    assert breaker.blocked_until(NOW) == NOW
    assert take_probe(breaker, "me", NOW, POLICY) == breaker


def test_while_one_tries_the_others_do_not() -> None:
    breaker = _probing("one")
    assert take_probe(breaker, "two", breaker.probe_until - 0.1, POLICY) == breaker


def test_a_probe_without_an_end_is_taken_for_lost_and_another_may_try() -> None:
    breaker = _probing("dead")
    taken = take_probe(breaker, "heir", breaker.probe_until, POLICY)
    assert (taken.probe_by, taken.probe_until) == ("heir", breaker.probe_until + 30)


@pytest.mark.parametrize("verdict", Verdict)
def test_the_late_end_of_a_lost_probe_changes_nothing(verdict: Verdict) -> None:
    lost = _probing("slow")
    heir = take_probe(lost, "heir", lost.probe_until, POLICY)
    again = take_probe(lost, "slow", lost.probe_until, POLICY)
    late = lost.probe_until + 1
    assert after_probe(heir, "slow", verdict, "", late, POLICY) == heir
    assert after_probe(again, "slow", verdict, "", late, POLICY, lost.probe_until) == again
    for breaker in (_opened(), _new()):
        assert after_probe(breaker, "slow", verdict, "", late, POLICY) == breaker


def test_a_probe_that_succeeds_late_but_before_another_began_still_counts() -> None:
    breaker = _probing()
    ended = after_probe(
        breaker,
        "me",
        Verdict.ALIVE,
        "",
        breaker.probe_until + 5,
        POLICY,
        breaker.probe_until,
    )
    assert ended.status is Status.CLOSED


def test_a_probe_that_succeeds_makes_it_as_good_as_new() -> None:
    breaker = _probing()
    ended = after_probe(breaker, "me", Verdict.ALIVE, "", breaker.retry_at, POLICY)
    assert replace(ended, reason="") == _new()


def test_a_probe_that_never_left_is_given_back_and_due_at_once() -> None:
    breaker = _probing("one")
    now = breaker.retry_at + 5
    back = after_probe(breaker, "one", Verdict.NOTHING, "", now, POLICY)
    assert (back.status, back.openings, back.reason) == (Status.OPEN, 1, breaker.reason)
    assert take_probe(back, "two", now, POLICY).probe_by == "two"


# -- the wait ---------------------------------------------------------------------------------


@given(timeout_s=st.floats(0.1, 100_000), probes=st.integers(1, 60))
def test_each_failed_probe_doubles_the_wait_up_to_the_longest(
    timeout_s: float, probes: int
) -> None:
    policy = replace(POLICY, timeout_s=timeout_s)
    breaker = _opened(policy)
    wait_s, now = timeout_s, NOW
    for _ in range(probes):
        assert breaker.retry_at == pytest.approx(now + wait_s)
        now = breaker.retry_at
        breaker = take_probe(breaker, "me", now, policy)
        breaker = after_probe(breaker, "me", Verdict.AWAY, "HTTP 502", now, policy)
        wait_s = min(2 * wait_s, max(LONGEST_TIMEOUT_S, timeout_s))
    assert breaker.openings == probes + 1
    assert breaker.reason == "the probe failed; HTTP 502"


def test_an_endpoint_that_is_away_for_years_is_still_tried_every_hour() -> None:
    assert POLICY.wait_s(1_000_000) == LONGEST_TIMEOUT_S


def test_after_a_success_the_wait_is_short_again() -> None:
    breaker = _probing()
    breaker = after_probe(breaker, "me", Verdict.AWAY, "", breaker.retry_at, POLICY)
    assert breaker.retry_at - breaker.opened_at == 200
    breaker = take_probe(breaker, "me", breaker.retry_at, POLICY)
    now = breaker.retry_at
    closed = after_probe(breaker, "me", Verdict.ALIVE, "", now, POLICY)
    assert _failed(closed, 3, at=now).retry_at == now + 100


# -- any sequence of events -------------------------------------------------------------------

HOLDERS = st.sampled_from(["one", "two", "three"])
STEPS = st.one_of(
    st.tuples(st.just("success"), st.integers(1, 20)),
    st.tuples(st.just("failure"), st.none()),
    st.tuples(st.just("retry"), st.none()),
    st.tuples(st.just("probe"), HOLDERS),
    st.tuples(st.just("end"), st.tuples(HOLDERS, st.sampled_from(Verdict))),
    st.tuples(st.just("pass"), st.sampled_from([1.0, 29.0, 31.0, 100.0, 250.0, 4000.0])),
)


@given(st.lists(STEPS, max_size=60))
def test_no_two_hold_a_probe_at_a_time_and_each_cool_down_is_sat_out(
    steps: list[tuple[str, object]],
) -> None:
    breaker, now = _new(), NOW
    held: dict[str, float] = {}
    for what, detail in steps:
        before = breaker
        match what, detail:
            case "pass", float(seconds):
                now += seconds
            case "success", int(calls):
                breaker = after_successes(breaker, calls, now)
            case "failure", None:
                breaker = _failed(breaker, at=now)
            case "retry", None:
                breaker = after_retry(breaker, now) or breaker
            case "probe", str(holder):
                is_due = breaker.is_probe_due(now)
                breaker = take_probe(breaker, holder, now, POLICY)
                assert (breaker != before) == is_due
                if is_due:
                    assert all(until <= now for until in held.values())
                    held[holder] = breaker.probe_until
            case "end", (str(holder), Verdict() as verdict):
                until = held.pop(holder, -1.0)
                breaker = after_probe(breaker, holder, verdict, "", now, POLICY, until)
        if breaker.status is Status.OPEN and before.openings < breaker.openings:
            assert breaker.retry_at - now >= POLICY.timeout_s
        if before.status is not Status.CLOSED and what in {"success", "failure", "retry"}:
            assert breaker == before
        assert (breaker.status is Status.HALF_OPEN) == (breaker.probe_by is not None)
        assert (breaker.openings > 0) == (breaker.status is not Status.CLOSED)
        assert (breaker.blocked_until(now) > now) == (
            breaker.status is not Status.CLOSED and not breaker.is_probe_due(now)
        )


# -- retries ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "retries"), [(0, 3), (1, 3), (30, 3), (39, 3), (40, 4), (99, 9), (1000, 100)]
)
def test_retries_are_a_tenth_of_the_calls_and_three_at_least(calls: int, retries: int) -> None:
    breaker = after_successes(_new(), calls, NOW) if calls else _new()
    granted = 0
    while (newer := after_retry(breaker, NOW)) is not None:
        breaker = newer
        granted += 1
    assert granted == retries


def test_retries_come_back_when_the_window_has_passed() -> None:
    breaker = _new()
    for _ in range(3):
        breaker = after_retry(breaker, NOW) or _new()
    assert after_retry(breaker, NOW + 49) is None
    assert after_retry(breaker, NOW + 60) is not None


@given(
    st.lists(
        st.tuples(st.sampled_from(["calls", "retry"]), st.integers(1, 50), st.floats(0, 20)),
        max_size=50,
    )
)
def test_a_retry_is_granted_only_within_the_budget_of_the_calls_in_the_window(
    steps: list[tuple[str, int, float]],
) -> None:
    breaker, now = _new(), NOW
    calls: list[tuple[float, int]] = []
    retries: list[float] = []
    for what, count, wait_s in steps:
        now += wait_s
        if what == "calls":
            breaker = after_successes(breaker, count, now)
            calls.append((now, count))
            continue
        newer = after_retry(breaker, now)
        if newer is None:
            continue
        breaker = newer
        retries.append(now)
        slot_s = POLICY.window_s / SLOTS_IN_WINDOW
        recent = [at for at in retries if at > now - POLICY.window_s + slot_s]
        in_window = sum(n for at, n in calls if at > now - POLICY.window_s)
        assert len(recent) <= max(3, 0.1 * in_window)


# -- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaker", "said"),
    [
        (
            _opened,
            "Calls to pdl are paused until 08:01:40 UTC: 3 calls failed in a row; last: HTTP 503. "
            "Then one call tries whether it is back.",
        ),
        (_probing, "One call tries whether pdl is back; the others wait for it."),
        (
            lambda: after_probe(_probing(), "me", Verdict.ALIVE, "", NOW, POLICY),
            "pdl answers again: calls to it go on (a probe succeeded).",
        ),
    ],
)
def test_a_breaker_says_in_plain_words_how_it_stands(
    breaker: Callable[[], Breaker], said: str
) -> None:
    assert sentence("pdl", breaker()) == said
