"""Who has gone silent, and how that is put."""

from __future__ import annotations

import pytest

from resources.core.alerting import Topic
from resources.core.watch import DAEMON, Silence, listening_since, silent, troubles_of

NOW = 1_000_000.0
LONG_AGO = NOW - 100_000
EXPECTED = {"heal_batches": 60.0, "new_domains": 30.0, "stuck_runs": 300.0}
WELL = {"heal_batches": NOW - 61, "new_domains": NOW - 29, "stuck_runs": NOW - 310}


def _names(ticks: dict[str, float], since: float = LONG_AGO) -> list[str]:
    return [one.name for one in silent(ticks, EXPECTED, NOW, since)]


def test_whoever_ticks_is_not_silent() -> None:
    assert _names(WELL) == []


@pytest.mark.parametrize(("late_s", "is_silent"), [(180.0, False), (181.0, True)])
def test_three_intervals_are_waited_for(late_s: float, is_silent: bool) -> None:
    found = silent({**WELL, "heal_batches": NOW - late_s}, EXPECTED, NOW, LONG_AGO)
    expected = (
        [Silence("heal_batches", 60.0, NOW - late_s, late_s, is_alone=True)] if is_silent else []
    )
    assert found == expected


def test_one_that_never_ticked_is_silent_once_it_had_the_time() -> None:
    ticks = {name: at for name, at in WELL.items() if name != "new_domains"}
    assert _names(ticks, since=NOW - 90) == []
    assert _names(ticks, since=NOW - 91) == ["new_domains"]


def test_what_was_before_somebody_listened_does_not_count() -> None:
    old = dict.fromkeys(EXPECTED, LONG_AGO)
    assert _names(old, since=NOW - 60) == []
    assert _names(old, since=NOW - 1000) == sorted(EXPECTED)


def test_a_very_short_interval_is_given_time_too() -> None:
    assert silent({"quick": NOW - 29}, {"quick": 1.0}, NOW, LONG_AGO) == []
    assert silent({"quick": NOW - 31}, {"quick": 1.0}, NOW, LONG_AGO) != []


def test_somebody_unexpected_may_be_silent() -> None:
    assert _names({**WELL, "of an older version": LONG_AGO}) == []


@pytest.mark.parametrize(
    ("previous_s", "since_s"),
    [(30.0, 500.0), (90.0, 500.0), (91.0, 0.0), (36_000.0, 0.0), (-3_600.0, 0.0)],
    ids=["in time", "late", "later than three looks", "the machine slept", "the clock went back"],
)
def test_the_watch_listens_anew_after_a_pause(previous_s: float, since_s: float) -> None:
    assert listening_since(NOW - 500, NOW - previous_s, NOW, look_s=30.0) == NOW - since_s


def _troubles(ticks: dict[str, float], since: float = LONG_AGO) -> dict[str, str]:
    found = troubles_of(silent(ticks, EXPECTED, NOW, since))
    assert {one.topic for one in found} <= {Topic.SILENT}
    return {one.subject: one.sentence for one in found}


def test_a_silent_sensor_is_named_with_how_long() -> None:
    (sentence,) = _troubles({**WELL, "heal_batches": NOW - 600}).values()
    assert "The sensor heal_batches is silent" in sentence
    assert "ticks every 60 s, and has not for 10 min" in sentence


@pytest.mark.parametrize("stopped_s", [85.0, 100.0, 150.0, 400.0, 5000.0])
def test_when_all_stop_together_it_is_the_daemon_from_the_first_moment(stopped_s: float) -> None:
    # Each ticked at its own time before: the newest one right before the end.
    ticks = {
        "heal_batches": NOW - stopped_s,
        "new_domains": NOW - stopped_s - 29,
        "stuck_runs": NOW - stopped_s - 250,
    }
    assert list(_troubles(ticks)) == [DAEMON]


def test_when_nobody_ever_ticked_it_is_the_daemon() -> None:
    (sentence,) = _troubles({}, since=NOW - 600).values()
    assert "no sensor has ticked for 10 min" in sentence


def test_a_sensor_that_was_silent_before_the_daemon_stays_named() -> None:
    ticks = {"heal_batches": NOW - 5000, "new_domains": NOW - 600, "stuck_runs": NOW - 700}
    assert set(_troubles(ticks)) == {"heal_batches", DAEMON}


def test_without_silence_there_is_no_trouble() -> None:
    assert _troubles(WELL) == {}
    assert troubles_of(silent({}, {}, NOW, LONG_AGO)) == []


def test_a_tick_that_is_to_come_proves_nothing() -> None:
    """The clock was put back: what ticked an hour ahead of now may be silent since."""
    ahead = dict.fromkeys(EXPECTED, NOW + 3_600)
    assert len(silent(ahead, EXPECTED, NOW, LONG_AGO)) == len(EXPECTED)
    assert silent(ahead, EXPECTED, NOW, NOW - 1) == []
    assert silent(dict.fromkeys(EXPECTED, NOW + 5), EXPECTED, NOW, LONG_AGO) == []
