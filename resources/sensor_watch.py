"""Which sensors are to tick, and which of them have gone silent or have never ticked at all.

Asked by whoever looks from outside the daemon: commands, and the watchman. Knows no Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping

from resources.adapters.ledger.ticks import Tick, Ticks
from resources.core.config import Settings
from resources.core.watch import Silence, silent

NEW_DOMAINS, HEAL_BATCHES, STUCK_RUNS = "new_domains", "heal_batches", "stuck_runs"
NEW_DOMAINS_EVERY_S = 30.0


def stuck_runs_every_s(settings: Settings) -> float:
    """Seconds between two looks for stuck runs: often enough to notice soon after
    `stuck_after`."""
    return min(settings.recovery_interval, max(5.0, settings.stuck_after / 2))


def expected_sensors(settings: Settings) -> dict[str, float]:
    """Sensors that are to tick, with the seconds from one tick to the next."""
    return {
        NEW_DOMAINS: NEW_DOMAINS_EVERY_S,
        HEAL_BATCHES: settings.heal_interval,
        STUCK_RUNS: stuck_runs_every_s(settings),
    }


def silences(ticks: Ticks, settings: Settings, now: float) -> list[Silence]:
    """Sensors that are silent, where a daemon has run: those that have never ticked among them.

    Returns: by name; none where no sensor has ever ticked here, because then none is missed.
    """
    since = ticks.since()
    if since is None:
        return []
    heard = ticks.all()
    at = {name: tick.at for name, tick in heard.items()}
    return silent(at, _intervals(heard, settings), now, watched_since=since)


def _intervals(heard: Mapping[str, Tick], settings: Settings) -> Mapping[str, float]:
    """As each has said itself: settings may have changed since its code was loaded."""
    said = {name: tick.interval_s for name, tick in heard.items()}
    return expected_sensors(settings) | said
