"""How fast an endpoint is asked: tokens, pauses, slots in flight, and one site's delays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.pacing import (
    CLOCK_STEP_S,
    LEAST_RATE_SHARE,
    LONGEST_PAUSE_S,
    MOST_PENALTY_S,
    PAUSE_S,
    RECOVERED_PER_S,
    TURN_S,
    Pace,
    PaceLimits,
    Share,
    SitePace,
    after_answer,
    after_complaint,
    after_start,
    draw,
    held_until,
    refilled,
    slots_for,
    slowed,
    tokens_to_draw,
)
from tests.support.time import NOW

LIMITS = PaceLimits(rate=10.0, burst=20.0, concurrency=4)
ANY_LIMITS = st.builds(
    PaceLimits,
    rate=st.sampled_from([0.05, 1.0, 10.0, 333.3, 10_000.0]),
    burst=st.sampled_from([1.0, 2.5, 20.0]),
    concurrency=st.just(4),
)
ASKED = st.one_of(st.none(), st.sampled_from([0.0, 0.3, 5.0, 40.0, 1e9]))


# -- tokens -----------------------------------------------------------------------------------


def test_a_new_endpoint_may_be_asked_as_often_at_once_as_its_burst_says() -> None:
    pace, taken, wait_s = draw(LIMITS.new_pace(NOW), LIMITS, 50, NOW)
    assert (taken, wait_s) == (20, 0.0)
    assert draw(pace, LIMITS, 1, NOW) == (pace, 0, pytest.approx(0.1))


def test_no_more_is_taken_than_wanted_and_the_rest_stays() -> None:
    pace, taken, _ = draw(LIMITS.new_pace(NOW), LIMITS, 3, NOW)
    assert taken == 3
    assert draw(pace, LIMITS, 50, NOW)[1] == 17


def test_tokens_come_in_at_the_rate_and_up_to_the_burst() -> None:
    empty = Pace(rate=10.0, tokens=0.0, filled_at=NOW)
    assert draw(empty, LIMITS, 50, NOW + 1.05)[1] == 10
    assert draw(empty, LIMITS, 50, NOW + 3600)[1] == 20


@given(ANY_LIMITS)
def test_whoever_waits_as_long_as_he_is_told_gets_a_token(limits: PaceLimits) -> None:
    now = NOW
    pace, _, wait_s = draw(Pace(limits.rate, 0.0, NOW), limits, 1, NOW)
    waits = [wait_s]
    taken = 0
    while not taken:
        assert len(waits) < 4
        now += waits[-1]
        pace, taken, wait_s = draw(pace, limits, 1, now)
        waits.append(wait_s)
    assert sum(waits) == pytest.approx(1 / limits.rate, abs=0.003)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), st.integers(1, 30)),
        st.tuples(st.just("slow"), ASKED),
        st.tuples(st.just("hold"), st.sampled_from([-5.0, 3.0, 30.0, 1e9])),
        st.tuples(st.just("pass"), st.floats(0, 3)),
        st.tuples(st.just("pass"), st.sampled_from([0.1, 1.0, 60.0, 90_000.0])),
    ),
    max_size=50,
)


@given(ANY_LIMITS, STEPS)
def test_in_no_interval_is_more_granted_than_burst_and_rate_allow_and_nothing_in_a_pause(
    limits: PaceLimits, steps: list[tuple[str, float]]
) -> None:
    pace, now = limits.new_pace(NOW), NOW
    granted: list[tuple[float, int]] = []
    not_before = 0.0
    for what, detail in steps:
        match what:
            case "pass":
                now += detail
            case "slow":
                pace = slowed(pace, limits, detail, "HTTP 429", now)
                not_before = max(not_before, now + min(detail or 0.0, LONGEST_PAUSE_S))
            case "hold":
                pace = held_until(pace, now + detail, now)
                not_before = max(not_before, min(now + detail, now + LONGEST_PAUSE_S))
            case _:
                pace, taken, wait_s = draw(pace, limits, int(detail), now)
                assert 0 <= taken <= detail
                assert (wait_s > 0) == (taken == 0)
                if taken:
                    assert now >= not_before
                    granted.append((now, taken))
        # Whatever happens, it is never given up and never asked faster than it may be.
        assert LEAST_RATE_SHARE * limits.rate <= pace.rate <= limits.rate
    for number, (start, _) in enumerate(granted):
        total = 0
        for end, taken in granted[number:]:
            total += taken
            assert total <= limits.burst + limits.rate * (end - start) + 1e-6


def test_another_limit_holds_from_the_next_draw_on() -> None:
    lower = PaceLimits(rate=1.0, burst=2.0, concurrency=1)
    pace, taken, _ = draw(LIMITS.new_pace(NOW), lower, 50, NOW)
    assert (taken, pace.rate) == (2, 1.0)
    higher = PaceLimits(rate=5000.0, burst=100.0, concurrency=1)
    assert refilled(LIMITS.new_pace(NOW), higher, NOW).rate == LEAST_RATE_SHARE * 5000


@pytest.mark.parametrize(
    ("free_slots", "waiting", "likely", "tokens"),
    [
        (4, 2, 0, 2),
        (1, 2, 0, 1),  # each call needs a slot too
        (1, 2, 2, 2),  # but a slot serves several that are quick
        (0, 5, 5, 0),
        (-1, 5, 5, 0),
        (9, 0, 0, 0),
        (90, 90, 90, 3),  # for the next moment only
    ],
)
def test_no_more_tokens_are_drawn_than_calls_can_begin_in_the_next_moment(
    free_slots: int, waiting: int, likely: int, tokens: int
) -> None:
    pace = Pace(rate=12.0, tokens=100.0, filled_at=NOW)
    assert tokens_to_draw(pace, free_slots, waiting, likely) == tokens


def test_a_slow_endpoint_is_drawn_for_one_call_at_a_time() -> None:
    assert tokens_to_draw(Pace(rate=0.01, tokens=5.0, filled_at=NOW), 9, 9, 9) == 1


# -- pauses -----------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_time_that_the_other_side_named() -> None:
    pace = slowed(LIMITS.new_pace(NOW), LIMITS, 30.0, "HTTP 429", NOW)
    assert draw(pace, LIMITS, 5, NOW + 29) == (pace, 0, pytest.approx(1.0))
    assert (pace.not_before, pace.rate, pace.reason) == (NOW + 30, 5.0, "HTTP 429")


def test_after_a_pause_it_begins_with_one_call_and_not_with_a_burst() -> None:
    pace = slowed(LIMITS.new_pace(NOW), LIMITS, 30.0, "HTTP 429", NOW)
    assert draw(pace, LIMITS, 5, NOW + 30)[1] == 1


@pytest.mark.parametrize("asked_s", [None, 0.0, 0.2, 5.0])
def test_calls_that_complain_together_halve_the_rate_once(asked_s: float | None) -> None:
    pace = LIMITS.new_pace(NOW)
    for number in range(20):
        pace = slowed(pace, LIMITS, asked_s, "HTTP 429", NOW + number * 0.04)
    assert pace.rate == 5.0


def test_a_complaint_after_the_pause_halves_the_rate_again_down_to_the_least() -> None:
    pace, now = LIMITS.new_pace(NOW), NOW
    rates = []
    for _ in range(12):
        pace = slowed(pace, LIMITS, 1.0, "HTTP 429", now)
        rates.append(pace.rate)
        now = pace.not_before
    assert rates[:3] == [5.0, 2.5, 1.25]
    assert rates[-1] == LEAST_RATE_SHARE * LIMITS.rate


def test_a_longer_wait_counts_and_a_shorter_one_does_not_end_it() -> None:
    pace = slowed(LIMITS.new_pace(NOW), LIMITS, 30.0, "long", NOW)
    assert slowed(pace, LIMITS, 2.0, "short", NOW + 1).not_before == NOW + 30
    assert slowed(pace, LIMITS, 60.0, "longer", NOW + 1).not_before == NOW + 61


def test_without_a_time_named_the_pause_is_short_and_grows_as_the_rate_falls() -> None:
    assert slowed(LIMITS.new_pace(NOW), LIMITS, None, "", NOW).not_before == NOW + PAUSE_S
    slow = PaceLimits(rate=0.1, burst=1.0, concurrency=1)
    assert slowed(slow.new_pace(NOW), slow, None, "", NOW).not_before == NOW + 10


@pytest.mark.parametrize("asked_s", [1e6, 999_999_999.0, 1e15])
def test_however_long_the_other_side_asks_us_to_wait_it_is_tried_again_after_a_day(
    asked_s: float,
) -> None:
    pace = slowed(LIMITS.new_pace(NOW), LIMITS, asked_s, "HTTP 429", NOW)
    assert pace.not_before == NOW + LONGEST_PAUSE_S
    assert held_until(LIMITS.new_pace(NOW), NOW + asked_s, NOW).not_before == NOW + LONGEST_PAUSE_S


def test_a_hold_lets_nobody_ask_and_leaves_the_rate_as_it_is() -> None:
    pace = held_until(LIMITS.new_pace(NOW), NOW + 30, NOW)
    assert draw(pace, LIMITS, 1, NOW + 29)[1] == 0
    assert draw(pace, LIMITS, 1, NOW + 30)[1] == 1
    assert pace.rate == 10.0
    assert held_until(pace, NOW + 10, NOW) == pace


@given(ANY_LIMITS, STEPS)
def test_it_is_back_at_its_full_rate_soon_after_the_last_complaint(
    limits: PaceLimits, steps: list[tuple[str, float]]
) -> None:
    pace, now = limits.new_pace(NOW), NOW
    for what, detail in steps:
        if what == "pass":
            now += detail
        elif what == "slow":
            pace = slowed(pace, limits, detail, "HTTP 429", now)
        elif what == "draw":
            pace, _, _ = draw(pace, limits, int(detail), now)
    well = max(now, pace.not_before)
    later = refilled(pace, limits, well + 1 / RECOVERED_PER_S)
    assert (later.rate, later.reason) == (limits.rate, "")
    half_way = refilled(slowed(limits.new_pace(NOW), limits, 1.0, "x", NOW), limits, NOW + 13.5)
    assert half_way.rate == pytest.approx(0.75 * limits.rate)
    assert half_way.reason == "x"


# -- clocks -----------------------------------------------------------------------------------


def test_a_clock_that_is_a_little_behind_neither_gains_nor_loses_tokens() -> None:
    pace, _, _ = draw(LIMITS.new_pace(NOW), LIMITS, 20, NOW)
    behind, taken, _ = draw(pace, LIMITS, 1, NOW - 5)
    assert (taken, behind.filled_at) == (0, NOW)
    assert draw(behind, LIMITS, 50, NOW + 1)[1] == 10


def test_a_clock_that_was_set_back_does_not_stop_all_calls_until_it_has_caught_up() -> None:
    pace, _, _ = draw(LIMITS.new_pace(NOW), LIMITS, 20, NOW)
    back = NOW - CLOCK_STEP_S - 3600
    pace, taken, _ = draw(pace, LIMITS, 1, back)
    assert taken == 0
    assert draw(pace, LIMITS, 50, back + 1)[1] == 10


# -- slots ------------------------------------------------------------------------------------


@dataclass
class Processes:
    """Processes that draw slots in turns, each knowing what the others wrote last."""

    limit: int
    wishes: Mapping[str, int]
    shares: dict[str, Share] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)

    def redraw(self, name: str, now: float = NOW) -> int:
        others = {other: share for other, share in self.shares.items() if other != name}
        in_flight = self.in_flight.get(name, 0)
        wanted = max(self.wishes[name], in_flight)
        slots = slots_for(name, wanted, others, self.limit, now, in_flight=in_flight)
        self.shares[name] = Share(slots, wanted)
        return slots

    def begin(self, name: str) -> None:
        if name in self.shares:
            self.in_flight[name] = self.shares[name].slots

    def end(self, name: str) -> None:
        self.in_flight[name] = 0

    @property
    def held(self) -> int:
        return sum(share.slots for share in self.shares.values())


def _names(wishes: list[int]) -> dict[str, int]:
    return {f"worker-{number}": wish for number, wish in enumerate(wishes)}


WISHES = st.lists(st.integers(0, 12), min_size=1, max_size=7).map(_names)
LIMIT = st.integers(1, 10)


@given(
    LIMIT,
    WISHES,
    st.lists(
        st.tuples(
            st.sampled_from(["redraw", "begin", "end"]), st.integers(0, 6), st.floats(0, TURN_S)
        ),
        min_size=20,
        max_size=80,
    ),
)
def test_all_processes_together_never_hold_more_slots_than_there_are(
    limit: int, wishes: dict[str, int], steps: list[tuple[str, int, float]]
) -> None:
    processes, now = Processes(limit, wishes), NOW
    names = list(wishes)
    for what, number, wait_s in steps:
        now += wait_s
        name = names[number % len(names)]
        match what:
            case "redraw":
                slots = processes.redraw(name, now)
                assert 0 <= slots <= max(wishes[name], processes.in_flight.get(name, 0))
            case "begin":
                processes.begin(name)
            case _:
                processes.end(name)
        assert sum(processes.in_flight.values()) <= processes.held <= limit


@given(LIMIT, WISHES, st.randoms(use_true_random=False))
def test_no_slot_lies_idle_while_somebody_wants_it_once_all_have_drawn_again(
    limit: int, wishes: dict[str, int], random
) -> None:
    processes = Processes(limit, wishes)
    names = list(wishes)
    # First all learn what the others want, then who has too much gives back, then who lacks takes.
    for _ in range(3):
        random.shuffle(names)
        for name in names:
            processes.redraw(name)
    assert processes.held == min(limit, sum(wishes.values()))
    wishing = [wish for wish in wishes.values() if wish]
    for name, wish in wishes.items():
        assert processes.shares[name].slots >= min(wish, limit // max(1, len(wishing)))


@given(st.integers(1, 4), st.lists(st.integers(1, 12), min_size=1, max_size=7).map(_names))
def test_nobody_is_without_a_slot_for_ever(limit: int, wishes: dict[str, int]) -> None:
    processes = Processes(limit, wishes)
    without = set(wishes)
    for turn in range(300):
        for _ in range(2):
            for name in wishes:
                processes.redraw(name, NOW + turn * TURN_S)
        without -= {name for name, share in processes.shares.items() if share.slots}
        if not without:
            return
    raise AssertionError(f"{without} never had a slot")


def test_a_newcomer_gets_his_share_as_calls_of_the_others_end() -> None:
    processes = Processes(8, {"old": 8, "new": 8})
    assert processes.redraw("old") == 8
    processes.begin("old")
    assert processes.redraw("new") == 0
    # All its calls are under way: it cannot give a slot back, whatever its share is.
    assert processes.redraw("old") == 8
    assert processes.redraw("new") == 0
    processes.in_flight["old"] = 5
    assert processes.redraw("old") == 5
    assert processes.redraw("new") == 3
    processes.end("old")
    assert (processes.redraw("old"), processes.redraw("new")) == (4, 4)


def test_who_wants_nothing_holds_nothing_and_leaves_all_to_the_others() -> None:
    others = {"idle": Share(0, 0), "small": Share(1, 1)}
    assert slots_for("me", 100, others, 8, NOW) == 7
    assert slots_for("me", 0, others, 8, NOW) == 0


# -- one site ---------------------------------------------------------------------------------


def test_calls_to_a_site_are_spaced_by_its_latency_over_its_connections() -> None:
    pace = after_answer(SitePace(), 2.0, is_good=True)
    assert after_start(pace, 1, 0.0, NOW).next_at == NOW + 2.0
    assert after_start(pace, 4, 0.0, NOW).next_at == NOW + 0.5


def test_the_first_call_to_a_site_waits_for_nothing_and_its_own_delay_is_kept() -> None:
    assert after_start(SitePace(), 1, 0.0, NOW).next_at == NOW
    assert after_start(SitePace(), 1, 10.0, NOW).next_at == NOW + 10
    slow = after_answer(SitePace(), 30.0, is_good=True)
    assert after_start(slow, 1, 10.0, NOW).next_at == NOW + 30


def test_a_site_that_becomes_slower_is_asked_slower_and_faster_again_by_and_by() -> None:
    pace = after_answer(SitePace(), 1.0, is_good=True)
    pace = after_answer(pace, 9.0, is_good=True)
    assert pace.latency_s == 5.0
    assert after_answer(pace, 1.0, is_good=True).latency_s == 3.0


@pytest.mark.parametrize("latency_s", [0.001, 0.5, 0.999])
def test_a_quick_error_does_not_make_us_faster(latency_s: float) -> None:
    pace = after_answer(SitePace(), 1.0, is_good=True)
    assert after_answer(pace, latency_s, is_good=False) == pace
    assert after_answer(pace, 3.0, is_good=False).latency_s == 2.0


def test_a_site_that_complains_is_asked_half_as_often_each_time_and_forgiven_by_and_by() -> None:
    pace = SitePace(latency_s=0.1)
    delays = []
    for _ in range(9):
        pace = after_complaint(pace)
        delays.append(after_start(pace, 4, 0.0, NOW).next_at - NOW)
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0] + [MOST_PENALTY_S] * 3
    pace = after_answer(pace, 0.1, is_good=False)
    assert pace.penalty_s == MOST_PENALTY_S
    answers = 0
    while pace.penalty_s:
        pace = after_answer(pace, 0.1, is_good=True)
        answers += 1
    assert 10 < answers < 40
    assert after_start(pace, 4, 0.0, NOW).next_at - NOW < 0.1
    assert after_start(after_complaint(pace), 4, 30.0, NOW).next_at - NOW == 30.0
