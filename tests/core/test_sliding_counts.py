"""Counts over the last seconds: as if every call were remembered, up to one slot's width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.sliding_counts import SLOTS_IN_WINDOW, SlidingCounts, Slot
from tests.support.time import NOW

WINDOWS = st.sampled_from([0.5, 1.0, 60.0, 3600.0])
# Seconds as shares of the window, so that all windows see all that can happen.
STEPS = st.lists(
    st.tuples(st.floats(0, 1.5), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    max_size=40,
)


def _counts(slot: Slot) -> tuple[int, int, int]:
    return slot.calls, slot.failures, slot.retries


def _added(found: list[tuple[float, int, int, int]], since: float) -> tuple[int, int, int]:
    kept = [one[1:] for one in found if one[0] > since]
    return tuple(map(sum, zip(*kept, strict=True))) if kept else (0, 0, 0)  # type: ignore[return-value]


@given(WINDOWS, STEPS)
def test_a_count_is_that_of_the_window_up_to_a_slots_width(
    window_s: float, steps: list[tuple[float, int, int, int]]
) -> None:
    counts, now = SlidingCounts(window_s), NOW
    remembered: list[tuple[float, int, int, int]] = []
    for share, calls, failures, retries in steps:
        now += share * window_s
        counts = counts.add(now, calls=calls, failures=failures, retries=retries)
        remembered.append((now, calls, failures, retries))
        # A float of today is exact to a quarter of a microsecond.
        slack_s = 1e-6
        most = _added(remembered, now - window_s - slack_s)
        least = _added(remembered, now - window_s * (1 - 1 / SLOTS_IN_WINDOW) + slack_s)
        found = _counts(counts.total(now))
        for fewest, here, highest in zip(least, found, most, strict=True):
            assert fewest <= here <= highest
        assert len(counts.slots) <= SLOTS_IN_WINDOW


@given(WINDOWS, STEPS)
def test_they_read_back_from_their_text(
    window_s: float, steps: list[tuple[float, int, int, int]]
) -> None:
    counts, now = SlidingCounts(window_s), NOW
    for share, calls, failures, retries in steps:
        now += share * window_s
        counts = counts.add(now, calls=calls, failures=failures, retries=retries)
    assert SlidingCounts.from_text(window_s, counts.to_text()) == counts


def test_their_text_is_short_however_much_was_counted() -> None:
    counts = SlidingCounts(60.0)
    for second in range(3600):
        counts = counts.add(NOW + second, calls=1000, failures=1000, retries=1000)
    assert len(counts.to_text()) < 200


def test_without_anything_all_counts_are_zero() -> None:
    assert _counts(SlidingCounts(60.0).total(NOW)) == (0, 0, 0)
    assert SlidingCounts.from_text(60.0, "") == SlidingCounts(60.0)


def test_what_happened_is_gone_after_the_window() -> None:
    counts = SlidingCounts(60.0).add(NOW, calls=5)
    assert counts.total(NOW + 49).calls == 5
    assert counts.total(NOW + 60).calls == 0


@pytest.mark.parametrize("back_s", [1, 30, 59])
def test_a_clock_that_is_a_little_behind_counts_with_the_newest(back_s: int) -> None:
    counts = SlidingCounts(60.0).add(NOW, calls=1).add(NOW - back_s, calls=1, failures=1)
    assert _counts(counts.total(NOW)) == (2, 1, 0)
    assert counts.total(NOW + 60).calls == 0


def test_what_a_clock_far_ahead_counted_does_not_stay_for_ever() -> None:
    counts = SlidingCounts(60.0).add(NOW + 86_400, calls=1000, failures=1000)
    assert _counts(counts.total(NOW)) == (0, 0, 0)
    counts = counts.add(NOW, calls=1)
    assert _counts(counts.total(NOW + 1)) == (1, 0, 0)
    assert counts.total(NOW + 60).calls == 0


@pytest.mark.parametrize(("before_s", "after_s"), [(60.0, 600.0), (600.0, 60.0), (60.0, 3600.0)])
def test_a_window_of_another_length_begins_empty_and_forgets_in_its_own_time(
    before_s: float, after_s: float
) -> None:
    text = SlidingCounts(before_s).add(NOW, calls=100, failures=100).to_text()
    counts = SlidingCounts.from_text(after_s, text).add(NOW, calls=1)
    assert _counts(counts.total(NOW)) == (1, 0, 0)
    assert counts.total(NOW + after_s).calls == 0
