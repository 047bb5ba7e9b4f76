"""Paces that processes share: in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Barrier, Thread

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.paces import BLOCK_S, FORGOTTEN_AFTER_S, SHARE_LEASE_S
from resources.core.pacing import LONGEST_PAUSE_S, Grant, PaceLimits
from resources.core.ports import PaceBook
from tests.support.places import Place
from tests.support.time import NOW

LIMITS = PaceLimits(rate=40.0, burst=20.0, concurrency=8)
ROOMY = PaceLimits(rate=40.0, burst=20.0, concurrency=1000)
AT_ONCE = round(LIMITS.rate * BLOCK_S)
PDL = "pdl"


@pytest.fixture
def books(place: Place) -> Sequence[PaceBook]:
    """The one book, as three processes see it."""
    return place.paces()


def _draw(
    book: PaceBook,
    who: str,
    waiting: int,
    at: float = NOW,
    *,
    in_flight: int = 0,
    limits: PaceLimits = LIMITS,
) -> Grant:
    return book.draw(PDL, who, limits, in_flight=in_flight, waiting=waiting, now=at)


# -- tokens -----------------------------------------------------------------------------------


def test_all_processes_draw_from_one_bucket(books: Sequence[PaceBook]) -> None:
    grants = [_draw(books[n % 3], f"w{n}", 7, limits=ROOMY) for n in range(4)]
    assert [grant.tokens for grant in grants] == [7, 7, 6, 0]
    assert [grant.wait_s for grant in grants[:3]] == [0.0] * 3
    assert grants[3].wait_s == pytest.approx(1 / 40)
    assert _draw(books[0], "w0", 7, NOW + 0.1001, limits=ROOMY).tokens == 4


def test_tokens_are_drawn_for_the_next_moment_only(books: Sequence[PaceBook]) -> None:
    assert _draw(books[0], "one", 100, limits=ROOMY).tokens == AT_ONCE
    slow = PaceLimits(rate=0.5, burst=20.0, concurrency=1000)
    assert books[0].draw("slow", "one", slow, in_flight=0, waiting=9, now=NOW).tokens == 1


def test_endpoints_do_not_mix(books: Sequence[PaceBook]) -> None:
    _draw(books[0], "one", 100)
    other = books[0].draw("rdap", "one", LIMITS, in_flight=0, waiting=3, now=NOW)
    assert (other.tokens, other.slots) == (3, 3)


def test_who_waits_for_nothing_draws_no_token(books: Sequence[PaceBook]) -> None:
    grant = _draw(books[0], "one", 0, in_flight=2)
    assert (grant.tokens, grant.slots, grant.wait_s) == (0, 2, 0.0)


def test_many_that_draw_at_once_get_no_more_than_there_is(books: Sequence[PaceBook]) -> None:
    barrier = Barrier(6)
    grants: list[Grant] = []

    def ask(number: int) -> None:
        barrier.wait()
        grants.append(_draw(books[number % 3], f"w{number}", 7, limits=ROOMY))

    threads = [Thread(target=ask, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(grant.tokens for grant in grants) == 20
    assert len(grants) == 6


# -- slots ------------------------------------------------------------------------------------


def test_all_processes_together_hold_as_many_slots_as_there_are(
    books: Sequence[PaceBook],
) -> None:
    assert _draw(books[0], "one", 20).slots == 8
    assert _draw(books[1], "two", 20).slots == 0
    assert _draw(books[0], "one", 20).slots == 4
    assert _draw(books[1], "two", 20).slots == 4
    assert _draw(books[2], "three", 1).slots == 0


def test_slots_of_calls_under_way_are_kept_until_the_calls_end(books: Sequence[PaceBook]) -> None:
    assert _draw(books[0], "one", 20).slots == 8
    assert _draw(books[1], "two", 5).slots == 0
    assert _draw(books[0], "one", 5, in_flight=8).slots == 8
    assert _draw(books[1], "two", 5).slots == 0
    assert _draw(books[0], "one", 5, in_flight=7).slots == 7
    grant = _draw(books[1], "two", 5)
    assert (grant.slots, grant.tokens) == (1, 1)


def test_a_process_that_has_ended_or_died_leaves_its_slots_to_the_others(
    books: Sequence[PaceBook],
) -> None:
    _draw(books[0], "one", 20)
    books[0].leave("one")
    assert _draw(books[1], "dead", 20).slots == 8
    assert _draw(books[2], "heir", 20, NOW + SHARE_LEASE_S - 0.1).slots == 0
    assert _draw(books[2], "heir", 20, NOW + SHARE_LEASE_S).slots == 8


def test_a_share_that_is_drawn_again_is_kept(books: Sequence[PaceBook]) -> None:
    for second in range(0, 60, 5):
        assert _draw(books[0], "one", 0, NOW + second, in_flight=8).slots == 8
        assert _draw(books[1], "two", 20, NOW + second).slots == 0


def test_without_a_slot_there_is_no_token(books: Sequence[PaceBook]) -> None:
    _draw(books[0], "one", 20)
    grant = _draw(books[1], "two", 20)
    assert (grant.slots, grant.tokens, grant.wait_s) == (0, 0, 0.0)


# -- pauses -----------------------------------------------------------------------------------


def test_a_complaint_that_one_process_hears_holds_all_of_them_up(
    books: Sequence[PaceBook],
) -> None:
    _draw(books[0], "one", 1)
    pace = books[0].slow_down(PDL, LIMITS, 30.0, "HTTP 429", NOW)
    assert (pace.not_before, pace.rate) == (NOW + 30, 20.0)
    assert books[1].waits(NOW) == {PDL: NOW + 30}
    grant = _draw(books[1], "two", 5, NOW + 10)
    assert (grant.tokens, grant.wait_s, grant.not_before) == (0, 20.0, NOW + 30)
    assert grant.reason == "HTTP 429"
    assert books[1].waits(NOW + 30) == {}
    assert _draw(books[1], "two", 5, NOW + 30).tokens == 1


def test_complaints_that_several_processes_hear_together_halve_the_rate_once(
    books: Sequence[PaceBook],
) -> None:
    rates = [book.slow_down(PDL, LIMITS, 0.0, "HTTP 429", NOW).rate for book in books]
    assert rates == [20.0] * 3


def test_a_hold_is_a_pause_at_the_same_rate(books: Sequence[PaceBook]) -> None:
    books[0].hold_until(PDL, LIMITS, NOW + 60, NOW)
    books[1].hold_until(PDL, LIMITS, NOW + 20, NOW)
    assert books[1].waits(NOW) == {PDL: NOW + 60}
    assert _draw(books[2], "three", 9, NOW + 59).tokens == 0
    assert _draw(books[2], "three", 9, NOW + 60).tokens == 8


def test_no_pause_is_longer_than_a_day(books: Sequence[PaceBook]) -> None:
    books[0].slow_down("one", LIMITS, 999_999_999.0, "HTTP 429", NOW)
    books[0].hold_until("two", LIMITS, NOW + 999_999_999.0, NOW)
    assert books[1].waits(NOW) == dict.fromkeys(("one", "two"), NOW + LONGEST_PAUSE_S)


# -- forgetting -------------------------------------------------------------------------------


def test_what_is_asked_all_the_time_is_not_forgotten_and_its_bucket_stays_empty(
    books: Sequence[PaceBook],
) -> None:
    books[0].slow_down(PDL, LIMITS, 1.0, "HTTP 429", NOW)
    later = NOW + FORGOTTEN_AFTER_S + 60
    assert sum(_draw(books[0], "one", 10, later, limits=ROOMY).tokens for _ in range(9)) == 20
    books[1].forget_old(later)
    assert _draw(books[0], "one", 10, later, limits=ROOMY).tokens == 0


def test_what_was_not_asked_for_a_day_is_forgotten_but_for_a_pause_that_lasts(
    books: Sequence[PaceBook],
) -> None:
    books[0].slow_down(PDL, LIMITS, LONGEST_PAUSE_S, "HTTP 429", NOW)
    books[0].slow_down("rdap", LIMITS, 1.0, "HTTP 429", NOW)
    later = NOW + FORGOTTEN_AFTER_S
    books[1].forget_old(later - 0.1)
    assert set(books[0].waits(NOW)) == {PDL, "rdap"}
    books[1].forget_old(later)
    assert set(books[0].waits(NOW)) == {PDL, "rdap"}
    books[1].forget_old(later + 1)
    assert books[0].waits(NOW) == {}


# -- what only the ledger shows ---------------------------------------------------------------


def test_who_complained_is_listed_with_the_reason_while_the_pause_lasts(ledger: Ledger) -> None:
    ledger.paces.slow_down(PDL, LIMITS, 30.0, "HTTP 429", NOW)
    ledger.paces.hold_until("site/acme.example", LIMITS, NOW + 30, NOW)
    (found,) = ledger.paces.slow_ones(NOW)
    assert (found["endpoint"], found["reason"]) == (PDL, "HTTP 429")
    assert ledger.paces.slow_ones(NOW + 30) == []
