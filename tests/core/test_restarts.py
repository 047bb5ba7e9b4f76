"""When a server is started again, and when it stands still."""

from __future__ import annotations

from resources.core.restarts import LONGEST_PAUSE_S, WELL_AFTER_S, Pulse, Restarts

MOST = 3


def _pulse(looks: list[bool | None]) -> Pulse:
    pulse = Pulse()
    for is_answering in looks:
        pulse = pulse.after_look(is_answering)
    return pulse


def test_a_server_that_lived_well_is_started_again_at_once() -> None:
    assert Restarts().after_end(WELL_AFTER_S).pause_s == 0.0


def test_ends_in_a_row_make_the_pauses_longer_up_to_a_limit() -> None:
    restarts, pauses = Restarts(), []
    for _ in range(2000):
        restarts = restarts.after_end(lived_s=3.0)
        pauses.append(restarts.pause_s)
    assert pauses[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(pauses[6:]) == {LONGEST_PAUSE_S}


def test_a_long_life_makes_the_pauses_short_again() -> None:
    assert Restarts(in_a_row=9).after_end(WELL_AFTER_S + 1).after_end(1.0).pause_s == 1.0


def test_a_server_that_has_not_come_up_yet_does_not_stand_still() -> None:
    assert not _pulse([False] * 100).is_standing_still(MOST)


def test_one_that_answered_and_misses_some_looks_in_a_row_stands_still() -> None:
    assert not _pulse([True, False, False]).is_standing_still(MOST)
    assert _pulse([True, False, False, False]).is_standing_still(MOST)


def test_an_answer_in_between_makes_up_for_it() -> None:
    assert not _pulse([True, False, False, True, False, False]).is_standing_still(MOST)


def test_a_look_that_tells_nothing_changes_nothing() -> None:
    assert _pulse([True, False, None, None, None]) == _pulse([True, False])
