"""What a person reads at the end of a run, and its JSON form for scripts."""

from __future__ import annotations

import resource
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline_assets.commands.groups import ORDER
from resources.adapters.ledger.lists import IngestReport
from resources.core.errors import RULES, FailureKind, LeaseLost
from resources.core.models import Phase
from resources.directory import ASSET as DIRECTORY
from resources.platform import Platform

if TYPE_CHECKING:
    from pipeline_assets.invocation import Outcome


def taken_in(report: IngestReport) -> str:
    """One line about the file."""
    new = f"{report.added} new" if report.added else "nothing new"
    return (
        f"List {report.list_name!r}: {report.rows} rows = {report.accepted} domains "
        f"+ {report.duplicates} duplicates + {report.rejected} rejected; {new}."
    )


def interrupted() -> str:
    """What to read after Ctrl-C."""
    return (
        "Stopped. Everything finished so far is kept; the same command goes on from there:\n"
        f"  {shlex.join(['pipeline', *sys.argv[1:]])}"
    )


def taken_over(error: LeaseLost) -> str:
    """What to read when another process has taken over what this one had in hand."""
    return (
        f"{error}. What it settled before is kept, and the others go on; `pipeline status` shows "
        "how far they are. The same command works on whatever is left."
    )


def outputs(platform: Platform) -> dict[str, str]:
    """Where results lie, by name; only what exists."""
    root = platform.store.root / DIRECTORY
    found = {"csv": root / "companies.csv", "parquet": root / "companies.parquet"}
    present = {name: str(path) for name, path in found.items() if path.exists()}
    return {**present, "store": str(platform.store.root), "home": str(platform.settings.home)}


def as_json(platform: Platform, outcome: Outcome, seconds: float) -> str:
    """The summary as one JSON object on one line."""
    report = outcome.ingest
    total = len(outcome.batches)
    return orjson.dumps(
        {
            "list": report.list_name,
            "rows": report.rows,
            "domains": {
                "accepted": report.accepted,
                "duplicates": report.duplicates,
                "rejected": report.rejected,
            },
            "added": report.added,
            "batches": {
                "total": total,
                "settled": total - outcome.unsettled_batches,
                "unsettled": outcome.unsettled_batches,
            },
            "phases": {phase.value: _phase_json(phase, outcome) for phase in outcome.tallies},
            "providers": {
                name: {"calls": calls, "credits": credits}
                for name, (calls, credits) in sorted(outcome.calls.items())
            },
            "pages": outcome.pages,
            "failures": list(outcome.failures[-5:]),
            "seconds": round(seconds, 2),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "outputs": outputs(platform),
        }
    ).decode()


def _phase_json(phase: Phase, outcome: Outcome) -> dict[str, Any]:
    tally = outcome.tallies[phase]
    calls, credits = _calls(phase, outcome)
    return {
        **{state.value: tally.states.get(state, 0) for state in ORDER},
        "kinds": dict(sorted(tally.kinds.items())),
        "tried_again": tally.refreshing,
        "calls": calls,
        "credits": credits,
        "seconds": round(outcome.seconds.get(phase, 0.0), 2),
    }


def _calls(phase: Phase, outcome: Outcome) -> tuple[int, float]:
    match phase:
        case Phase.COMPANY_ENRICHMENT:
            pairs = outcome.calls.values()
            return sum(calls for calls, _ in pairs), sum(credits for _, credits in pairs)
        case Phase.PAGE_SCRAPING:
            return outcome.pages, 0.0
        case Phase.PROFILE_BUILD:
            return 0, 0.0


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def show(platform: Platform, outcome: Outcome, seconds: float, *, is_sandbox: bool) -> None:
    """Print the summary for a person."""
    console = Console(highlight=False)
    report = outcome.ingest
    total = len(outcome.batches)
    console.print()
    if outcome.is_finished:
        console.print(f"[bold green]Done.[/] All {total} batches are settled, in {seconds:.0f} s.")
    elif outcome.unsettled_batches == 0:
        console.print(
            "[bold yellow]Not finished.[/] All domains are settled, but profiles or directory "
            "could not be written: " + escape(outcome.failures[-1] if outcome.failures else "")
        )
    else:
        console.print(
            f"[bold yellow]Not finished.[/] {outcome.unsettled_batches} of {total} batches hold "
            f"unsettled domains; everything else is kept ({seconds:.0f} s)."
        )
    console.print(escape(taken_in(report)))
    console.print(_states_table(outcome))
    for sentence in (*_missing(outcome), *_tried_again(outcome)):
        console.print(f"  {escape(sentence)}")
    _print_cost(console, outcome)
    files = [path for name, path in outputs(platform).items() if name in {"csv", "parquet"}]
    if files:
        console.print("\n[bold]Results[/]")
    for path in files:
        console.print(f"  {escape(path)}", soft_wrap=True)
    console.print("\n[bold]Next[/]")
    for hint in _next_steps(outcome, is_sandbox):
        console.print(f"  {escape(hint)}", soft_wrap=True)


def _states_table(outcome: Outcome) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Domains by phase")
    shown = [s for s in ORDER if any(t.states.get(s) for t in outcome.tallies.values())]
    for state in shown:
        table.add_column(state.value, justify="right")
    for phase, tally in outcome.tallies.items():
        table.add_row(phase.value, *(str(tally.states.get(state, 0)) for state in shown))
    return table


def _missing(outcome: Outcome) -> Sequence[str]:
    """Why domains are missing, one sentence a kind and phase."""
    sentences = []
    for phase, tally in outcome.tallies.items():
        for kind, count in sorted(tally.kinds.items(), key=lambda item: -item[1]):
            if kind in RULES:
                rule = RULES[FailureKind(kind)]
                sentences.append(f"{count} × {kind} in {phase.value}: {rule.sentence}")
    return sentences


def _tried_again(outcome: Outcome) -> Sequence[str]:
    """One line on settled domains whose second chance is under way, where there are any."""
    counts = [
        f"{tally.refreshing} in {phase.value}"
        for phase, tally in outcome.tallies.items()
        if tally.refreshing
    ]
    if not counts:
        return []
    return [
        f"Being tried again: {', '.join(counts)}; they stay settled as they are until an attempt "
        "settles them anew. The same command goes on with them (or add --wait 10m)."
    ]


def _print_cost(console: Console, outcome: Outcome) -> None:
    if outcome.calls or outcome.pages:
        calls = ", ".join(
            f"{name} {count} calls" + (f" ({credits:g} credits)" if credits else "")
            for name, (count, credits) in sorted(outcome.calls.items())
        )
        console.print(
            f"\nThis time: {outcome.pages} pages fetched; {calls or 'no provider calls'}."
        )
    else:
        console.print("\nThis time: no page fetched, no provider called: all of it was there.")


def _next_steps(outcome: Outcome, is_sandbox: bool) -> Sequence[str]:
    flag = " --sandbox" if is_sandbox else ""
    steps = []
    if not outcome.is_finished:
        steps.append("The same command again goes on with what is unsettled (or add --wait 10m).")
    if any(tally.kinds for tally in outcome.tallies.values()):
        steps.append(f"pipeline failures{flag}     what is missing and why")
    steps.append(f"pipeline why DOMAIN{flag}   one domain's whole story")
    steps.append(f"pipeline export companies.csv --join FILE{flag}   your rows with the profiles")
    steps.append(f"pipeline ui{flag}           batches, lineage and failures in Dagster")
    return steps
