"""What `pipeline status` says of healing: what is held or tried again, who watches, what is told.

Read from the ledger alone: Dagster need not be there, and is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from pipeline_assets.commands.wording import iso, many, safe, span
from resources.adapters.ledger.ticks import Tick
from resources.alerts import channel_problems, open_troubles
from resources.core.models import Phase
from resources.core.recovery import Request
from resources.platform import Platform

EXAMPLES = 3
# As many intervals without a tick as mean that something is wrong.
SILENT_INTERVALS = 3
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
                "launched_at": iso(request.launched_at),
            }
            for (phase, key), request in sorted(requests.items())
            if request.launched_at is not None
        ],
        "sensors": [
            {
                "name": tick.name,
                "last_tick_at": iso(tick.at),
                "interval_s": tick.interval_s,
                "is_silent": _is_silent(tick, now),
                "note": tick.note,
            }
            for tick in _ticks(platform)
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
    ticks = _ticks(platform)
    if not ticks:
        out.print(
            "[bold]Sensors[/]  have never ticked here: `make ui` starts what heals by itself."
        )
    for tick in ticks:
        ago = span(max(0.0, now - tick.at))
        state = f"[red]silent: last tick {ago} ago[/]" if _is_silent(tick, now) else f"{ago} ago"
        out.print(
            f"[bold]Sensor[/]   {safe(tick.name)} {state}: {safe(tick.note, _MOST_CHARS)}",
            soft_wrap=True,
        )


def _held(requests: Mapping[tuple[Phase, str], Request]) -> dict[tuple[Phase, str], Request]:
    return {pair: one for pair, one in requests.items() if one.held_reason is not None}


def _ticks(platform: Platform) -> Sequence[Tick]:
    return [tick for _, tick in sorted(platform.ledger.ticks.all().items())]


def _is_silent(tick: Tick, now: float) -> bool:
    return now - tick.at > SILENT_INTERVALS * tick.interval_s
