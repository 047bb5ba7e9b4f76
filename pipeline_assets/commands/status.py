"""`pipeline status`: where every list stands, what waits for what, and who is at work.

Everything is read from the ledger; nothing is worked on. What is missing and why: `failures`; one
domain's story: `why`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline_assets.commands.failures import failures
from pipeline_assets.commands.groups import (
    ORDER,
    Group,
    group_json,
    groups_of,
    next_try,
    places_of,
    quarantined,
    reading_of,
    states_of,
    waits,
)
from pipeline_assets.commands.healing_status import healing_json, show_healing
from pipeline_assets.commands.opening import list_names, opened
from pipeline_assets.commands.pauses import pauses_json, show_pauses
from pipeline_assets.commands.progress import Reach
from pipeline_assets.commands.wording import console, iso, many, print_json, safe, span
from resources.core.models import Phase
from resources.core.tallies import Tally, sum_up
from resources.platform import Platform

__all__ = ["failures", "status"]


def status(name: str | None, *, sandbox: bool, as_json: bool) -> int:
    """Print where every list stands, what waits and who is at work. Returns the exit code."""
    with opened(sandbox=sandbox) as platform:
        names = list_names(platform, name)
        if as_json:
            print_json(_status_json(platform, names))
        else:
            _show_status(platform, names)
    return 0


def _status_json(platform: Platform, names: Sequence[str]) -> dict[str, Any]:
    now = platform.clock.now()
    return {
        "lists": [_list_json(platform, name) for name in names],
        "workers": [
            {
                "phase": row["phase"],
                "done": row["done"],
                "total": row["total"],
                "doing": row["doing"],
                "started_at": iso(row["started_at"]),
                "last_beat_at": iso(row["beat_at"]),
                "host": row["host"],
                "pid": row["pid"],
                "run_id": row["run_id"],
            }
            for row in reading_of(platform).live_workers(now)
        ],
        "providers": reading_of(platform).call_totals(),
        **pauses_json(platform),
        "healing": healing_json(platform),
        "outputs": places_of(platform),
    }


def _list_json(platform: Platform, name: str) -> dict[str, Any]:
    groups = groups_of(platform, name)
    report = reading_of(platform).newest_ingest(name)
    tallies = _tallies(platform, name)
    batches, unsettled = _batch_counts(tallies)
    return {
        "name": name,
        "rows": report.rows if report else 0,
        "domains": {
            "total": sum(states_of(groups, Phase.PROFILE_BUILD).values()),
            "accepted": report.accepted if report else 0,
            "duplicates": report.duplicates if report else 0,
            "rejected": report.rejected if report else 0,
        },
        "batches": {"total": batches, "settled": batches - unsettled, "unsettled": unsettled},
        "phases": {
            phase.value: {state.value: n for state, n in states_of(groups, phase).items()}
            for phase in Phase
        },
        "tried_again": {
            phase.value: sum_up(found.values()).refreshing for phase, found in tallies.items()
        },
        "waits": [group_json(group) for group in waits(groups)],
        "quarantined": [group_json(group) for group in quarantined(groups)],
    }


def _tallies(platform: Platform, name: str) -> dict[Phase, dict[str, Tally]]:
    """Where each batch of a list stands."""
    keys = [batch.key for batch in platform.ledger.lists.batches_of(name)]
    return {phase: platform.ledger.work.tallies(phase, keys) for phase in Phase}


def _batch_counts(tallies: Mapping[Phase, Mapping[str, Tally]]) -> tuple[int, int]:
    """Batches of a list, and how many of them hold an unsettled domain."""
    unsettled = {key for found in tallies.values() for key in found if found[key].unsettled}
    return max(map(len, tallies.values())), len(unsettled)


def _show_status(platform: Platform, names: Sequence[str]) -> None:
    out = console()
    now = platform.clock.now()
    if not names:
        out.print("No list has been taken in yet: `pipeline run FILE` begins.")
    for name in names:
        _show_list(out, platform, name, now)
    for row in reading_of(platform).live_workers(now):
        beat = span(now - row["beat_at"])
        where = f"process {row['pid']} on {safe(row['host'])}"
        spent_s = row["beat_at"] - row["started_at"]
        reach = Reach(row["phase"], row["done"], row["total"], row["doing"], spent_s)
        out.print(
            f"[bold]At work[/]  {row['phase']}: {safe(reach.words, 400)}; "
            f"last beat {beat} ago ({where})",
            soft_wrap=True,
        )
    show_pauses(out, platform)
    show_healing(out, platform)
    _show_spending(out, reading_of(platform).call_totals())
    for kind, path in places_of(platform).items():
        if kind in {"csv", "parquet", "home"}:
            out.print(f"[bold]{kind:<8}[/] {safe(path, 4_096)}", soft_wrap=True)


def _show_list(out: Console, platform: Platform, name: str, now: float) -> None:
    groups = groups_of(platform, name)
    report = reading_of(platform).newest_ingest(name)
    tallies = _tallies(platform, name)
    batches, unsettled = _batch_counts(tallies)
    rows = ""
    if report is not None:
        rows = (
            f"{many(report.rows, 'row')} = {many(report.accepted, 'domain')} + "
            f"{many(report.duplicates, 'duplicate')} + {report.rejected} rejected; "
        )
    out.print(
        f"[bold]{safe(name)}[/]  {rows}{many(batches, 'batch')}, "
        + (f"[yellow]{unsettled} unsettled[/]" if unsettled else "[green]all settled[/]")
    )
    out.print(_states_table(groups))
    for group in waits(groups):
        label = group.kind or group.state
        out.print(
            f"  {group.domains} × {label} in {group.phase}: {group.sentence} "
            f"[bold]{group.next_step(now)}[/]",
            soft_wrap=True,
        )
    for group in quarantined(groups):
        out.print(
            f"  {group.domains} × given up ({group.kind or 'quarantined'}) in {group.phase}: "
            f"{group.sentence}",
            soft_wrap=True,
        )
    for phase, found in tallies.items():
        total = sum_up(found.values())
        if total.refreshing:
            out.print(
                f"  {total.refreshing} × being tried again in {phase}: settled as they are until "
                f"an attempt settles them anew. [bold]{next_try(total, now)}[/]",
                soft_wrap=True,
            )
    out.print()


def _states_table(groups: Sequence[Group]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  domains by phase")
    by_phase = {phase: states_of(groups, phase) for phase in Phase}
    shown = [state for state in ORDER if any(states[state] for states in by_phase.values())]
    for state in shown:
        table.add_column(state.value, justify="right")
    for phase, states in by_phase.items():
        table.add_row(f"  {phase.value}", *(str(states[state]) for state in shown))
    return table


def _show_spending(out: Console, totals: Mapping[str, Mapping[str, float]]) -> None:
    parts = [
        f"{safe(name)} {many(int(row['calls']), 'call')}, {row['credits']:g} credits"
        + (f" ({row['unanswered']:g} without an answer)" if row["unanswered"] else "")
        for name, row in totals.items()
    ]
    out.print(f"[bold]Spent[/]    {'; '.join(parts) or 'nothing: no provider was called'}")
