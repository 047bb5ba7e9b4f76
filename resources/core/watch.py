"""Which sensors have gone silent: what ticked when, against what is expected. Pure.

Somebody else than the daemon must look, and tell: who does not tick does not alert either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resources.core.alerting import CLOCK_TOLERANCE_S, Topic, Trouble

# So many intervals without a tick mean that something is wrong.
MOST_INTERVALS = 3.0
# The daemon looks at its sensors every five seconds, and a busy machine is late.
LEAST_INTERVAL_S = 10.0
DAEMON = "daemon"


@dataclass(frozen=True, slots=True)
class Silence:
    """A sensor that has not ticked for too long.

    Args:
        interval_s: Seconds from one tick to the next, as it should be.
        last_at: Its newest tick, epoch seconds; None for none at all.
        silent_s: Seconds that nothing was heard of it, as far as we were listening.
        is_alone: Whether another one ticked when this one should have; else the daemon is silent.
    """

    name: str
    interval_s: float
    last_at: float | None
    silent_s: float
    is_alone: bool


def silent(
    ticks: Mapping[str, float], expected: Mapping[str, float], now: float, watched_since: float
) -> list[Silence]:
    """Find out who has not ticked for more than three intervals.

    Args:
        ticks: The newest tick of each sensor, epoch seconds.
        expected: Seconds from one tick to the next, of each sensor that is to tick.
        now: Epoch seconds.
        watched_since: Since when somebody has been listening without a pause, epoch seconds; what
            did not tick before that is nobody's fault.

    Returns: the silent ones by name; none where all is well.
    """
    # Those of a clock that was put back since say nothing; those of another machine may be ahead.
    ticks = {name: min(at, now) for name, at in ticks.items() if at <= now + CLOCK_TOLERANCE_S}
    found = []
    for name, interval_s in sorted(expected.items()):
        last_at = ticks.get(name)
        heard_at = watched_since if last_at is None else max(last_at, watched_since)
        silent_s = now - heard_at
        if silent_s > MOST_INTERVALS * max(interval_s, LEAST_INTERVAL_S):
            due_at = heard_at + interval_s + LEAST_INTERVAL_S
            is_alone = any(ticks.get(other, 0.0) > due_at for other in expected)
            found.append(Silence(name, interval_s, last_at, silent_s, is_alone))
    return found


def listening_since(
    watched_since: float, previous_look_at: float, now: float, look_s: float
) -> float:
    """Since when the watch listens: anew after a pause, of a machine that slept or a ledger away.

    Args:
        previous_look_at: When the watch looked the last time, epoch seconds.
        look_s: Seconds from one look to the next, as they should be.
    """
    has_paused = not previous_look_at <= now <= previous_look_at + MOST_INTERVALS * look_s
    return now if has_paused else watched_since


def troubles_of(silences: Sequence[Silence]) -> list[Trouble]:
    """Put it in words: each sensor that is silent alone, and the daemon where others are too."""
    troubles = [
        Trouble(
            Topic.SILENT,
            one.name,
            f"The sensor {one.name} is silent: it ticks every {_span(one.interval_s)}, and has not "
            f"for {_span(one.silent_s)}. Dagster's page of the sensor says why, or that it is "
            "switched off.",
        )
        for one in silences
        if one.is_alone
    ]
    together = [one.silent_s for one in silences if not one.is_alone]
    if together:
        sentence = (
            f"The daemon is silent: no sensor has ticked for {_span(min(together))}, so nothing "
            "heals by itself. It stands still, or does not reach the code server; `make ui` "
            "starts both."
        )
        troubles.append(Trouble(Topic.SILENT, DAEMON, sentence))
    return troubles


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
