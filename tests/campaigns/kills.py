"""The kill campaign: the main job, killed with SIGKILL again and again, until all is settled.

    python -m tests.campaigns.kills --kills 200 --seed 7 [--report FILE]

One list is worked through twice: once by a run that nobody touches, and once by runs each of which
is killed at a random moment (seeded) and started again, until so many kills are done; the last one
runs to its end. Each has a sandbox of its own, with the same seed and the same faults. Then both
are compared, and what was paid is counted.

The faults are such that they pass: a page or an answer that fails once comes at the next try. What
is drawn for a request depends on how often it was made, and a killed run makes more of them; faults
that stay would make the two differ by what was drawn, and not by what was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from tests.support.processes import Sandbox, pipeline, sandbox, started_pipeline, write_list

FAULTS = """
[[fault]]
name = "the paid provider is busy now and then"
api = "pdl"
kind = "status"
status = 503
rate = 0.1
max_times = 20

[[fault]]
name = "home pages that fail at first"
api = "site"
path = "/"
kind = "status"
status = 503
host_share = 0.1
max_times = 1

[[fault]]
name = "home pages that are cut at first"
api = "site"
path = "/"
kind = "reset"
host_share = 0.1
max_times = 1

[[fault]]
name = "providers take their time"
api = "rdap"
kind = "latency"
seconds = [0.2, 0.6]

[[fault]]
name = "pages take their time"
api = "site"
kind = "latency"
seconds = [0.05, 0.3]
"""
SETTINGS = {
    "PIPELINE_RETRY_BACKOFF_BASE": "0.05",
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.2",
    "PIPELINE_BATCH_SIZE": "50",
}
ASSETS = ("enriched_companies", "scraped_pages", "company_profiles", "company_directory")
UNSETTLED = ("pending", "waiting")
# How long a run may work before it is killed, at first; it follows how far the list is.
FIRST_SPAN_S = 2.0
# Of the kills, those that do not wait until the run is at work: they fall into its start.
SHARE_IN_START = 0.15
RUN_LIMIT_S = 1200.0


@dataclass
class Outcome:
    """What a campaign saw.

    Args:
        kills: Kills by what the run was doing; `start` before its first claim.
        runs_that_ended: Runs that were through before they were killed.
        in_doubt: Domains of paid calls without a stored result, over all kills.
        billed: Domains billed by the paid provider.
        problems: What is not as it must be; empty when all is well.
    """

    domains: int
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    runs_that_ended: int = 0
    in_doubt: int = 0
    billed: int = 0
    pages_fetched: int = 0
    pages_of_the_other: int = 0
    most_deaths: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def campaign(kills: int, seed: int, domains: int) -> Outcome:
    """Run it. Takes about five seconds a kill."""
    began = time.monotonic()
    outcome = Outcome(domains, seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        source = write_list(folder / "list.csv", [f"c{n:05}.example" for n in range(domains)])
        faults = folder / "faults.toml"
        faults.write_text(FAULTS)
        start = ("--seed", str(seed), "--domains", str(source), "--faults", str(faults))
        with sandbox(*start) as internet:
            done = pipeline(
                *_arguments(internet, source),
                home=folder / "whole",
                timeout=RUN_LIMIT_S,
                **SETTINGS,
            )
            if done.code != 0:
                outcome.problems.append(f"the run that nobody killed ended with {done.code}")
            outcome.pages_of_the_other = sum(internet.calls()["pages"].values())
        with sandbox(*start) as internet:
            _kill_again_and_again(internet, source, folder / "killed", kills, Random(seed), outcome)
            calls = internet.calls()
        outcome.billed = sum(calls["billed"].get("pdl", {}).values())
        outcome.pages_fetched = sum(calls["pages"].values())
        _check(folder / "whole" / "sandbox", folder / "killed" / "sandbox", outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _arguments(internet: Sandbox, source: Path) -> tuple[str, ...]:
    return ("run", str(source), "--sandbox-url", internet.url, "--wait", "10m", "--json")


def _kill_again_and_again(
    internet: Sandbox, source: Path, home: Path, kills: int, random: Random, outcome: Outcome
) -> None:
    state = home / "sandbox"
    span_s = FIRST_SPAN_S
    while outcome.kills.total() < kills:
        known = _workers(state)
        with started_pipeline(*_arguments(internet, source), home=home, **SETTINGS) as process:
            if random.random() < SHARE_IN_START:
                time.sleep(random.uniform(0.2, 4.0))
            else:
                while _workers(state) <= known and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(random.uniform(0.0, span_s))
            if process.poll() is not None:
                outcome.runs_that_ended += 1
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)
        outcome.kills[_phase_at_work(state)] += 1
        # The kills are spread over the whole list: behind it runs get longer, ahead shorter.
        is_behind = _share_settled(state) < outcome.kills.total() / kills
        span_s = min(20.0, max(0.2, span_s * (1.25 if is_behind else 0.8)))
    if outcome.kills.total() < kills:
        outcome.problems.append(
            f"all was settled after {outcome.kills.total()} of {kills} kills: take a longer list"
        )
    done = pipeline(*_arguments(internet, source), home=home, timeout=RUN_LIMIT_S, **SETTINGS)
    if done.code != 0:
        outcome.problems.append(f"the last run ended with {done.code}: {done.err[-2000:]}")


@contextmanager
def _ledger(state: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{state / 'ledger.db'}?mode=ro", uri=True, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    if not (state / "ledger.db").exists():
        return []
    try:
        with _ledger(state) as ledger:
            return ledger.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []  # the schema is being made


def _workers(state: Path) -> int:
    rows = _rows(state, "select count(*) from workers where done > 0 or doing is not null")
    return int(rows[0][0]) if rows else 0


def _phase_at_work(state: Path) -> str:
    """What the process that was just killed was doing: nobody has ended its worker."""
    rows = _rows(
        state,
        "select phase from workers where ended_at is null order by started_at desc limit 1",
    )
    return str(rows[0][0]) if rows else "between phases"


def _share_settled(state: Path) -> float:
    rows = _rows(
        state,
        "select avg(state not in ('pending', 'waiting')) from work where phase != 'PROFILE_BUILD'",
    )
    return float(rows[0][0] or 0.0) if rows else 0.0


def _check(whole: Path, killed: Path, outcome: Outcome) -> None:
    _check_states(killed, outcome)
    _check_money(killed, outcome)
    for asset in ASSETS:
        _check_asset(whole, killed, asset, outcome)
    outcome.most_deaths = int(_rows(killed, "select max(deaths) from work")[0][0])


def _check_states(killed: Path, outcome: Outcome) -> None:
    states = _rows(killed, "select phase, state, count(*) from work group by phase, state")
    for phase in ("COMPANY_ENRICHMENT", "PAGE_SCRAPING", "PROFILE_BUILD"):
        of_phase = {state: n for name, state, n in states if name == phase}
        if sum(of_phase.values()) != outcome.domains:
            outcome.problems.append(f"{phase} has {sum(of_phase.values())} domains")
        left = {state: n for state, n in of_phase.items() if state in UNSETTLED}
        if left:
            outcome.problems.append(f"{phase} has unsettled domains: {left}")
        if of_phase.get("quarantined"):
            outcome.problems.append(f"{phase}: {of_phase['quarantined']} innocents quarantined")
    more = _rows(
        killed,
        """select phase, domain, count(*) from events
           where what in ('succeeded', 'not_found', 'refused', 'quarantined')
           group by phase, domain having count(*) != 1""",
    )
    if more:
        outcome.problems.append(f"settled more than once: {more[:5]}")


def _check_money(killed: Path, outcome: Outcome) -> None:
    query = """select coalesce(sum(domains), 0) from calls
               where provider = 'pdl' and answered_at is null"""
    outcome.in_doubt = int(_rows(killed, query)[0][0])
    if outcome.billed > outcome.domains + outcome.in_doubt:
        outcome.problems.append(
            f"{outcome.billed} domains billed, more than {outcome.domains} and the "
            f"{outcome.in_doubt} in doubt"
        )


def _check_asset(whole: Path, killed: Path, asset: str, outcome: Outcome) -> None:
    files = sorted(path.name for path in (whole / "store" / asset).glob("*.parquet"))
    found = sorted(path.name for path in (killed / "store" / asset).glob("*.parquet"))
    if files != found or not files:
        outcome.problems.append(f"{asset}: files {found} and not {files}")
        return
    for file in files:
        expected, actual = (_content(home / "store" / asset / file) for home in (whole, killed))
        if expected != actual:
            differing = [
                f"{one.get('domain')} {_difference(one, other)}"
                for one, other in zip(expected, actual, strict=False)
                if one != other
            ]
            outcome.problems.append(
                f"{asset}/{file}: {len(expected)} and {len(actual)} rows, "
                f"{len(differing)} differ, such as: {'; '.join(differing[:2])}"
            )


def _difference(one: Any, other: Any, where: str = "") -> str:
    """The first place at which two rows differ, and what is there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{where}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (mine, its) in enumerate(zip(one, other, strict=True)):
            if mine != its:
                return _difference(mine, its, f"{where}[{place}]")
    return f"{where}: {str(one)[:300]} / {str(other)[:300]}"


def _content(path: Path) -> list[Any]:
    """The rows of a file, times aside, in one order."""
    rows = [_without_times(row) for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


_TIMES = {"settled_at", "fetched_at", "at"}


def _without_times(value: Any) -> Any:
    match value:
        case dict():
            return {k: _without_times(v) for k, v in value.items() if k not in _TIMES}
        case list():
            return [_without_times(one) for one in value]
        case str() if value[:1] in {"{", "["}:
            try:
                return _without_times(json.loads(value))
            except ValueError:
                return value
        case str():
            # What is left of a bulk call after a kill may be asked for alone.
            return value.removesuffix("/bulk") if value.startswith("https://api.") else value
        case _:
            return value


def report(outcome: Outcome, command: str) -> str:
    """The outcome as Markdown."""
    phases = ", ".join(f"{n} in {phase}" for phase, n in sorted(outcome.kills.items()))
    lines = [
        "# Kill campaign",
        "",
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}.",
        "",
        f"The main job on {outcome.domains} domains in the sandbox, with faults (a provider "
        "that is busy now and then, home pages that fail or are cut at first, slow pages), killed "
        f"with SIGKILL at {outcome.kills.total()} random moments (seed {outcome.seed}) and started "
        "again; then compared with a run that nobody killed.",
        "",
        "| | |",
        "|---|---|",
        f"| kills | {outcome.kills.total()}: {phases} |",
        f"| domains billed by the paid provider | {outcome.billed} |",
        f"| allowed: domains, and those of calls without a stored result at a kill | "
        f"{outcome.domains} + {outcome.in_doubt} |",
        f"| pages fetched, and by the run that nobody killed | {outcome.pages_fetched}, "
        f"{outcome.pages_of_the_other} |",
        f"| most workers that died with one and the same domain in hand | {outcome.most_deaths} |",
        f"| seconds | {outcome.seconds:.0f} |",
        "",
        "Every domain settled exactly once in each phase, none lost, none quarantined; every table "
        "whole and, times aside, equal to that of the run that nobody killed."
        if not outcome.problems
        else "**Not as it must be:**",
        "",
        *(f"- {problem}" for problem in outcome.problems),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and print its report."""
    parser = argparse.ArgumentParser(description="Kill the main job again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--domains", type=int, help="default: eight a kill")
    parser.add_argument("--report", type=Path, help="also written to this file")
    asked = parser.parse_args(arguments)
    outcome = campaign(asked.kills, asked.seed, asked.domains or 8 * asked.kills)
    command = f"python -m tests.campaigns.kills --kills {asked.kills} --seed {asked.seed}"
    text = report(outcome, command)
    print(text)
    if asked.report is not None:
        asked.report.write_text(text, encoding="utf-8")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
