"""Faults of every kind under real servers: whatever is broken, everything is settled by itself.

    python -m tests.campaigns.healing --rounds 5 --seed 7 --report docs/reports/healing.md

Each round of each case has a home, an internet and servers of its own, and one fault. What the
faults are is in `healing_workers`, `healing_family`, `healing_people`, `healing_outside` and
`healing_mixed`; what must hold afterwards in `healing_checks`.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from sqlalchemy import text

from resources.adapters.ledger.database import Database
from tests.campaigns import healing_family as family
from tests.campaigns import healing_mixed as mixed
from tests.campaigns import healing_outside as outside
from tests.campaigns import healing_people as people
from tests.campaigns import healing_workers as workers
from tests.campaigns.healing_checks import check_directory, check_lane
from tests.campaigns.healing_place import Place, opened
from tests.campaigns.healing_play import Case
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_report import Outcome, as_lines, as_markdown
from tests.support.postgres import PostgresServer, postgres

SQLITE, POSTGRESQL = "sqlite", "postgresql"
# Waits within a run that the default makes minutes long; how often it is looked stays as it is.
SETTINGS = {"PIPELINE_RETRY_BACKOFF_BASE": "1"}
CASES = [*workers.CASES, *family.CASES, *people.CASES, *outside.CASES, *mixed.CASES]
_MOST_LOG = 4_000


def play(case: Case, place: Place, number: int, seed: int) -> Outcome:
    """Play a case in its lane of a place, and check what it leaves."""
    lane = place.lanes.get(case.prefix, Lane(case.prefix, ()))
    random = Random(f"{seed} {case.name} {number}")
    try:
        played = case.play(place, lane, random)
        checks = [*played.checks, *check_lane(place, place.lanes[case.prefix])]
    except Exception as error:  # noqa: BLE001  # one case must not cost the others their turn
        trouble = f"{type(error).__name__}: {error}"
        _keep_evidence(place, case, traceback.format_exc())
        return Outcome(case, number, None, "", case.bound_s, (), trouble)
    bound_s = played.bound_s or case.bound_s
    outcome = Outcome(case, number, played.seconds, played.since, bound_s, checks)
    if outcome.wrong:
        _keep_evidence(place, case, "\n".join(outcome.wrong))
    return outcome


def _keep_evidence(place: Place, case: Case, what: str) -> None:
    """Write down what is to be seen now, for whoever looks for the cause."""
    said = [what, ""]
    try:
        if case.prefix in place.lanes:
            said.append(place.records.line(place.lanes[case.prefix]))
        said += [f"{run.status} {run.job} {dict(run.tags)}" for run in place.dagster.runs(30)]
        said += [f"{part}: {[one.pid for one in many]}" for part, many in _members(place)]
        said.append(place.command("status").out)
    except Exception as error:  # noqa: BLE001  # the evidence of what failed is all that we want
        said.append(f"(no more evidence: {error})")
    log = place.servers.log.read_text(errors="replace")[-_MOST_LOG:]
    path = place.folder / f"{case.name}.evidence.txt"
    path.write_text("\n".join([*said, "", log]), encoding="utf-8")
    print(f"{case.name}: {what}\n(more in {path})", file=sys.stderr, flush=True)


def _members(place: Place) -> list[tuple[str, list[object]]]:
    return [(part.value, list(many)) for part, many in place.servers.members().items()]


def database_for(server: PostgresServer | None, name: str) -> tuple[PostgresServer, str] | None:
    """A new database on a server that ends with it; None without one."""
    if server is None:
        return None
    admin = Database(server.url("postgres"))
    try:
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
    finally:
        admin.close()
    return server, server.url(name)


def run_round(
    case: Case, number: int, seed: int, folder: Path, server: PostgresServer | None
) -> Outcome:
    """One case from a clean start."""
    where = folder / f"{case.name}-{number}"
    plans = [case.lane_plan] if case.plan[0] else []
    settings = {**SETTINGS, **case.settings}
    name = f"healing_{case.prefix}_{number}"
    with opened(
        where,
        plans,
        settings=settings,
        seed=seed + number,
        database=database_for(server, name),
        is_trapped=case.is_trapped,
    ) as place:
        outcome = play(case, place, number, seed)
        if outcome.trouble:
            return outcome
        whole = check_directory(place, list(place.lanes.values()))
        return Outcome(**{**vars(outcome), "checks": [*outcome.checks, whole]})


def run(
    cases: Sequence[Case], rounds: int, seed: int, database: str, folder: Path
) -> Iterator[Outcome]:
    """Play all cases, round by round: whoever stops early has seen each of them."""
    for number in range(1, rounds + 1):
        for case in cases:
            if number > (case.rounds or rounds):
                continue
            try:
                with _server(case, database) as server:
                    outcome = run_round(case, number, seed, folder, server)
            except Exception as error:  # noqa: BLE001  # the others still get their turn
                traceback.print_exc()
                outcome = Outcome(case, number, None, "", case.bound_s, (), f"no start: {error}")
            yield outcome


@contextmanager
def _server(case: Case, database: str) -> Iterator[PostgresServer | None]:
    if database == SQLITE and not case.needs_postgresql:
        yield None
        return
    with postgres() as server:
        yield server


def _chosen(names: str) -> list[Case]:
    if names == "all":
        return CASES
    known = {case.name: case for case in CASES}
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no case {', '.join(unknown)}; there are: {', '.join(known)}, or all")
    return [known[name] for name in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and write its report; 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.healing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cases", default="all", help="names by comma, or all")
    parser.add_argument("--database", choices=[SQLITE, POSTGRESQL], default=SQLITE)
    parser.add_argument("--report", type=Path, help="file to write; standard output otherwise")
    parser.add_argument("--folder", type=Path, help="keep everything there; must be empty")
    options = parser.parse_args(arguments)
    # Whoever ends the campaign ends its servers with it.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    cases = _chosen(options.cases)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    command = (
        f"make chaos-heal ROUNDS={options.rounds} SEED={options.seed} "
        f"CASES={options.cases} DATABASE={options.database}"
    )
    settings = f"{options.database}, the reconciler every 60 s"
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="healing-") as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        for outcome in run(cases, options.rounds, options.seed, options.database, folder):
            print(outcome.line, flush=True)
            outcomes.append(outcome)
            if options.report is not None:
                options.report.parent.mkdir(parents=True, exist_ok=True)
                said = as_markdown(outcomes, command, machine, settings)
                options.report.write_text(said, encoding="utf-8")
    is_passed = not any(outcome.wrong for outcome in outcomes)
    if options.report is None:
        print(as_markdown(outcomes, command, machine, settings))
    else:
        print(as_lines(outcomes))
        print(f"{'passed' if is_passed else 'FAILED'}: {options.report}")
    return 0 if is_passed else 1


if __name__ == "__main__":
    sys.exit(main())
