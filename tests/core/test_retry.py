"""The request tier: when one call is tried again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.errors import RULES, Failure, FailureKind, Handling
from resources.core.retry import RetryPolicy, parse_retry_after, wait_before_retry

NOW = 1_800_000_000.0
POLICY = RetryPolicy(attempts=3, base_s=0.25, cap_s=8.0)


def _wait(
    failure: Failure, tries: int, policy: RetryPolicy = POLICY, seed: int = 0
) -> float | None:
    return wait_before_retry(failure, tries, policy, Random(seed))


@pytest.mark.parametrize("kind", FailureKind)
def test_only_what_uses_a_round_is_tried_again(kind: FailureKind) -> None:
    wait = _wait(Failure(kind, "why"), 1)
    assert (wait is not None) == (RULES[kind].handling is Handling.ROUND)


@given(
    tries=st.integers(1, 40),
    base=st.floats(0, 60),
    cap=st.floats(0, 600),
    seed=st.integers(),
)
def test_jitter_stays_between_nothing_and_the_doubled_base_or_the_cap(
    tries: int, base: float, cap: float, seed: int
) -> None:
    policy = RetryPolicy(attempts=100, base_s=base, cap_s=cap)
    wait = _wait(Failure(FailureKind.TIMEOUT, "why"), tries, policy, seed)
    assert wait is not None
    assert 0 <= wait <= min(cap, base * 2.0 ** (tries - 1))


def test_jitter_spreads_over_the_whole_range() -> None:
    failure = Failure(FailureKind.TIMEOUT, "why")
    waits = [_wait(failure, 1, seed=seed) or 0.0 for seed in range(200)]
    assert min(waits) < 0.05
    assert max(waits) > 0.2


def test_the_last_try_is_followed_by_none() -> None:
    failure = Failure(FailureKind.TIMEOUT, "why")
    assert _wait(failure, 2) is not None
    assert _wait(failure, 3) is None
    assert _wait(failure, 1, RetryPolicy(attempts=1)) is None


def test_a_wait_that_was_asked_for_is_kept() -> None:
    assert _wait(Failure(FailureKind.RATE_LIMITED, "why", retry_after_s=5), 1) == 5


def test_a_longer_wait_than_the_cap_is_left_to_the_ledger() -> None:
    assert _wait(Failure(FailureKind.RATE_LIMITED, "why", retry_after_s=8.5), 1) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", None),
        ("1.5", 1.5),
        ("1.", None),
        (".5", None),
        ("1.5.2", None),
        ("inf", None),
        ("1e9", None),
        ("soon", None),
        ("٣", None),  # a digit for Unicode, not for HTTP
        ("99999999999999999999", 999_999_999),
        ("9" * 16_000, 999_999_999),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120),
        ("Friday, 15-Jan-27 08:02:00 GMT", 120),
        ("Fri Jan 15 08:02:00 2027", 120),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 09:02:00 +0100", 120),
        ("Fri, 32 Jan 2027 09:02:00 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.integers(0, 10**6))
def test_a_date_means_the_seconds_until_then(seconds: int) -> None:
    moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
    assert parse_retry_after(format_datetime(moment, usegmt=True), NOW) == seconds


HEADERS = st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} [\d:]{1,9} \S*")


def _http_date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


@given(HEADERS, st.none() | HEADERS)
def test_no_header_whatever_it_says_raises_or_leads_back_in_time(
    value: str, date: str | None
) -> None:
    seconds = parse_retry_after(value, NOW, date)
    assert seconds is None or seconds >= 0


@given(seconds=st.integers(0, 10**6), skew_s=st.integers(-(10**8), 10**8))
def test_a_clock_that_is_wrong_here_or_there_does_not_change_the_wait(
    seconds: int, skew_s: int
) -> None:
    sent_at = NOW + skew_s
    assert parse_retry_after(_http_date(sent_at + seconds), NOW, _http_date(sent_at)) == seconds


def test_a_time_that_was_over_when_the_answer_was_sent_is_no_wait() -> None:
    assert parse_retry_after(_http_date(NOW + 60), NOW, _http_date(NOW + 90)) == 0


@pytest.mark.parametrize("date", [None, "", "soon", "120", "Fri, 32 Jan 2027 09:02:00 GMT"])
def test_without_a_date_that_can_be_read_our_own_clock_counts(date: str | None) -> None:
    assert parse_retry_after(_http_date(NOW + 60), NOW, date) == 60


def test_seconds_are_seconds_whatever_the_date_says() -> None:
    assert parse_retry_after("120", NOW, _http_date(NOW - 10**6)) == 120
