"""What `pipeline status` says of healing: what is held or tried again, who watches, what is told.

Read from the ledger alone: Dagster need not be there, and is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from pipeline_assets.commands.wording import iso, many, safe, span
from resources.adapters.ledger.ticks import Tick
from resources.alerts import channel_problems, open_troubles
from resources.core.models import Phase
from resources.core.recovery import Request
from resources.platform import Platform
from resources.sensor_watch import expected_sensors, silences

EXAMPLES = 3
_MOST_CHARS = 400


def healing_json(platform: Platform) -> dict[str, Any]:
    """Batches that a cancel holds or that automatic runs work on, ticks, and open alerts."""
    now = platform.clock.now()
    requests = platform.ledger.requests.all()
    return {
        "auto_recovery": platform.settings.enable_auto_recovery,
        "requested": len(requests),
        "held": [
            {"phase": phase, "batch": key, "reason": request.held_reason}
            for (phase, key), request in sorted(_held(requests).items())
        ],
        "retried_by_itself": [
            {
                "phase": phase,
                "batch": key,
                "runs_without_progress": request.attempts,
                "runs_that_died": request.deaths,
                "launched_at": iso(request.launched_at),
            }
            for (phase, key), request in sorted(requests.items())
            if request.launched_at is not None or request.attempts or request.deaths
        ],
        "sensors": [
            {
                "name": one.name,
                "last_tick_at": iso(one.tick.at) if one.tick else None,
                "interval_s": one.interval_s,
                "is_silent": one.is_silent,
                "note": one.tick.note if one.tick else "",
            }
            for one in _sensors(platform, now)
        ],
        "alerts": [
            {
                "topic": trouble.topic,
                "sentence": trouble.sentence,
                "since": iso(trouble.opened_at),
                "is_told": trouble.is_told,
            }
            for trouble in open_troubles(platform.ledger)
        ],
        "alert_channels_failing": [
            {
                "channel": problem.name,
                "sentence": problem.sentence,
                "since": iso(problem.since),
                "next_try_at": iso(problem.next_try_at),
            }
            for problem in channel_problems(platform.ledger)
        ],
    }


def show_healing(out: Console, platform: Platform) -> None:
    """The same for a person."""
    now = platform.clock.now()
    for phase in Phase:
        keys = sorted(key for of, key in _held(platform.ledger.requests.all()) if of is phase)
        if keys:
            examples = ", ".join(keys[:EXAMPLES]) + (", …" if len(keys) > EXAMPLES else "")
            out.print(
                f"[bold]Held[/]     {many(len(keys), 'batch')} of {phase} ({safe(examples)}): "
                "a person cancelled the run. [bold]`pipeline retry --batch KEY` goes on.[/]",
                soft_wrap=True,
            )
    for trouble in open_troubles(platform.ledger):
        told = "" if trouble.is_told else " (not told yet)"
        out.print(
            f"[bold]Alert[/]    {safe(trouble.sentence, _MOST_CHARS)} "
            f"(since {span(now - trouble.opened_at)}){told}",
            soft_wrap=True,
        )
    for problem in channel_problems(platform.ledger):
        out.print(
            f"[bold]Channel[/]  [red]{safe(problem.sentence, _MOST_CHARS)}[/] "
            f"(for {span(max(0.0, now - problem.since))}; it is tried again by itself)",
            soft_wrap=True,
        )
    if not platform.settings.enable_auto_recovery:
        out.print("[bold]Healing[/]  is advice only (PIPELINE_ENABLE_AUTO_RECOVERY=false).")
    sensors = _sensors(platform, now)
    if not sensors:
        out.print(
            "[bold]Sensors[/]  have never ticked here: `make ui` starts what heals by itself."
        )
    for one in sensors:
        if one.tick is None:
            state = "[red]silent: has never ticked here[/]" if one.is_silent else "not yet"
            out.print(f"[bold]Sensor[/]   {safe(one.name)} {state}")
            continue
        ago = span(max(0.0, now - one.tick.at))
        state = f"[red]silent: last tick {ago} ago[/]" if one.is_silent else f"{ago} ago"
        out.print(
            f"[bold]Sensor[/]   {safe(one.name)} {state}: {safe(one.tick.note, _MOST_CHARS)}",
            soft_wrap=True,
        )


def _held(requests: Mapping[tuple[Phase, str], Request]) -> dict[tuple[Phase, str], Request]:
    return {pair: one for pair, one in requests.items() if one.held_reason is not None}


@dataclass(frozen=True, slots=True)
class _Sensor:
    """One that ticks or should.

    Args:
        tick: Its newest one; None where it has never ticked.
    """

    name: str
    interval_s: float
    tick: Tick | None
    is_silent: bool


def _sensors(platform: Platform, now: float) -> Sequence[_Sensor]:
    """By name; none where no sensor has ever ticked."""
    ticks = platform.ledger.ticks.all()
    if not ticks:
        return []
    silent = {one.name for one in silences(platform.ledger.ticks, platform.settings, now)}
    expected = expected_sensors(platform.settings)
    return [
        _Sensor(
            name,
            ticks[name].interval_s if name in ticks else expected[name],
            ticks.get(name),
            name in silent,
        )
        for name in sorted(ticks.keys() | expected.keys())
    ]
