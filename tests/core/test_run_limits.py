"""What a pass's time limits allow: told the time, without a loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.errors import FailureKind
from resources.core.run_limits import PassTimes, RunLimits
from tests.support.time import NOW

LIMITS = RunLimits(
    phase_timeout_s=3600, domain_timeout_s=150, batch_timeout_s=300, batch_size=50, beat_s=5
)


def _times(**sizes: int) -> PassTimes:
    return PassTimes(LIMITS, sizes, NOW)


@pytest.mark.parametrize(
    ("domains", "limit_s"), [(0, 300), (1, 300), (50, 300), (51, 600), (100, 600), (5000, 30_000)]
)
def test_a_larger_batch_gets_more_time_and_a_small_one_no_less(
    domains: int, limit_s: float
) -> None:
    assert LIMITS.batch_s(domains) == limit_s


def test_a_batchs_time_begins_with_its_first_domain_in_hand() -> None:
    times = _times(a=50)
    assert not times.is_over("a", NOW + 3000)
    times.take("a", NOW + 3000)
    times.take("a", NOW + 3200)
    assert not times.is_over("a", NOW + 3299)
    assert times.is_over("a", NOW + 3300)


def test_a_batchs_time_stands_still_while_nothing_of_it_is_in_hand() -> None:
    times = _times(a=50)
    times.take("a", NOW)
    times.take("a", NOW + 50)
    times.let_go("a", NOW + 60)
    times.let_go("a", NOW + 100)
    assert not times.is_over("a", NOW + 3000)
    times.take("a", NOW + 3000)
    assert times.allowance("a", NOW + 3100).seconds == 100
    assert times.is_over("a", NOW + 3200)


def test_what_was_over_stays_over_though_the_clock_is_set_back() -> None:
    times = _times(a=50, b=50)
    times.take("a", NOW)
    times.take("b", NOW)
    assert times.is_over("a", NOW + 300)
    assert times.is_over("a", NOW + 10)
    times.end_batch("b")
    assert times.is_over("b", NOW + 10)


def test_a_clock_set_back_gives_no_more_time_than_the_limit() -> None:
    times = _times(a=50)
    times.take("a", NOW)
    times.let_go("a", NOW - 7200)
    times.take("a", NOW)
    assert times.is_over("a", NOW + 300)


def test_a_domain_may_take_its_own_time_or_what_is_left_of_its_batchs() -> None:
    times = _times(a=50)
    times.take("a", NOW)
    early, late = times.allowance("a", NOW + 150), times.allowance("a", NOW + 151)
    assert (early.seconds, early.is_of_batch) == (150, False)
    assert (late.seconds, late.is_of_batch) == (149, True)
    assert early.failure.kind is late.failure.kind is FailureKind.TIMEOUT
    assert "150 s for one domain" in early.failure.message
    assert "(domain_timeout)" in early.failure.message
    assert "300 s for batch a" in late.failure.message
    assert "(batch_timeout)" in late.failure.message


def test_nothing_is_begun_once_the_batch_or_the_step_has_no_time_left() -> None:
    times = _times(a=120, b=50)
    times.take("a", NOW)
    assert times.refusal("a", NOW + 899) is None
    of_batch, of_step = times.refusal("a", NOW + 900), times.refusal("b", NOW + 3600)
    assert of_batch is not None
    assert of_step is not None
    assert of_batch.kind is of_step.kind is FailureKind.CANCELLED
    assert of_batch.message == (
        "the limit of 900 s for batch a was reached (batch_timeout); "
        "what is left waits for the next run or retry"
    )
    assert of_step.message == (
        "the limit of 3600 s for one step was reached (phase_timeout); "
        "what is left waits for the next run"
    )
    assert times.refusal("b", NOW + 3599) is None


def test_that_a_batchs_time_is_over_is_told_once() -> None:
    times = _times(a=50, b=50, c=50)
    times.take("a", NOW)
    times.take("b", NOW + 10)
    assert times.newly_over(NOW + 299) == []
    assert times.newly_over(NOW + 300) == ["a"]
    assert times.newly_over(NOW + 310) == ["b"]
    assert times.newly_over(NOW + 9000) == []


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 100), st.booleans()),
        max_size=40,
    )
)
def test_a_batch_never_gets_more_time_in_hand_than_its_limit(
    steps: list[tuple[float, bool]],
) -> None:
    """Whatever is taken and let go, and when: what is allowed never reaches beyond the limit."""
    times = _times(a=50)
    now, in_hand, busy_s = NOW, 0, 0.0
    for wait_s, is_taken in steps:
        now += wait_s
        busy_s += wait_s if in_hand else 0.0
        if is_taken:
            if times.refusal("a", now) is None:
                times.take("a", now)
                in_hand += 1
                assert times.allowance("a", now).seconds <= 300 - busy_s + 1e-6
        elif in_hand:
            times.let_go("a", now)
            in_hand -= 1
        if times.pass_is_over(now) is None and abs(busy_s - 300) > 1e-3:
            assert (times.refusal("a", now) is not None) == (busy_s > 300)
