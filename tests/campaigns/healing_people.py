"""What people do: cancel, launch a backfill, drop a file, switch healing off."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.campaigns.checks import FETCHING, Check
from tests.campaigns.healing_checks import finish_s, unfinished
from tests.campaigns.healing_dagster import RunSeen
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import Case, Played, at_work, begin, check, settled_since
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_waits import until

BOUND_S = 120.0
BACKFILL_S = 600.0
HOLD_TICKS = 2
FILE_ROWS = 60
_ROW_S = 0.25
ROBOTS = "/robots.txt"
_ASSETS = ("enriched_companies", "scraped_pages", "company_profiles")


def _of(place: Place, lane: Lane) -> list[RunSeen]:
    return [run for run in place.dagster.runs() if run.covers(lane.keys)]


def _cancelled(place: Place, lane: Lane, random: Random) -> Played:
    phase = random.choice(FETCHING)
    run = begin(place, lane, slow=[phase])[phase]
    at_work(place, lane, phase)
    place.dagster.cancel(run)
    until(lambda: place.dagster.run(run).status == "CANCELED", 120, "the run is cancelled")
    place.internet.quick(lane)
    other = next(one for one in FETCHING if one != phase)
    until(lambda: not place.records.unsettled(lane, other), BOUND_S, f"{other} is settled")
    before = {one.id for one in _of(place, lane)}
    settled = place.records.settled(lane, phase)
    place.wait_for_ticks(HOLD_TICKS)
    begun = [
        one for one in _of(place, lane) if one.id not in before and one.job != "build_profiles"
    ]
    healing = place.command("status", "--json").json["healing"]
    held = {(one["phase"], one["batch"]) for one in healing["held"]}
    wanted = {(phase, key) for key in lane.keys if _is_open(place, lane, phase, key)}
    checks = [
        check("nothing is started for two intervals", not begun, [one.job for one in begun]),
        check(
            "nothing of it is worked on",
            place.records.settled(lane, phase) == settled,
            f"{settled} settled before",
        ),
        check("`pipeline status` says what is held", wanted <= held, sorted(held) or "nothing"),
    ]
    keys = lane.keys if place.lanes.keys() - {lane.prefix} else ()
    asked = [place.command("retry", "--batch", key) for key in keys] or [
        place.command("retry", "--name", lane.keys[0].rpartition("-")[0])
    ]
    at = time.time()
    wrong = [one.err for one in asked if one.code != 0]
    checks.append(check("`pipeline retry` takes it up", not wrong, wrong or "it does"))
    return Played(settled_since(place, lane, at, BOUND_S), f"`retry`, in {phase}", checks)


def _is_open(place: Place, lane: Lane, phase: str, key: str) -> bool:
    query = """select count(*) from work join members m on m.domain = work.domain
               where m.batch_key = :key and phase = :phase and state in ('pending', 'waiting')"""
    return bool(place.records.number(query, key=key, phase=phase))


def _backfill(place: Place, lane: Lane, random: Random) -> Played:
    at = time.time()
    backfill = place.dagster.backfill(_ASSETS, lane.keys)
    ended = place.dagster.wait_for(backfill, BACKFILL_S)
    ended_at = time.time()
    seconds = settled_since(place, lane, at, BACKFILL_S)
    until(lambda: not unfinished(place, lane), finish_s(place), "the backfill's profiles")
    runs = _of(place, lane)
    crossing = [one.id for one in runs if one.is_by_reconciler and one.created_at < ended_at]
    checks = [
        check("the backfill succeeds", ended == "COMPLETED_SUCCESS", ended),
        check("the reconciler starts no run for a target of it", not crossing, crossing),
        _worked_on_once(place, lane),
    ]
    return Played(seconds, "the launch", checks)


def _worked_on_once(place: Place, lane: Lane) -> Check:
    """By the counters of the other side.

    A robots.txt that leads to the same site's other host is asked for there twice.
    """
    calls, mine = place.internet.calls(), set(lane.domains)
    again = [
        f"{api} {domain}: {n}"
        for api, counts in calls["calls"].items()
        for domain, n in counts.items()
        if n > 1 and domain in mine
    ]
    for host, paths in calls["paths"].items():
        if host.removeprefix("www.") in mine:
            again += [f"{host}{path}: {n}" for path, n in paths.items() if n > 1 and path != ROBOTS]
    return check("no domain is worked on twice", not again, again or f"{len(mine)} domains, once")


def _inbox(place: Place, lane: Lane, random: Random) -> Played:
    """A file that grows while the sensor looks at it."""
    inbox = place.home / "inbox"
    inbox.mkdir(exist_ok=True)
    domains = [f"{lane.prefix}-{n:04}.example" for n in range(FILE_ROWS)]
    early = _write_slowly(place, inbox / f"{lane.prefix}.csv", domains)
    at = time.time()
    count = "select count(*) from members where domain like :of"
    until(
        lambda: place.records.number(count, of=f"{lane.prefix}-%") == FILE_ROWS,
        4 * place.heal_s + 120,
        "the file is taken in",
    )
    lane = place.know(lane.prefix, domains)
    seconds = settled_since(place, lane, at, 4 * place.heal_s + 2 * BOUND_S)
    ingests = place.records.rows(
        """select i.rows, i.accepted, i.rejected from ingests i join lists l on l.id = i.list_id
           where l.name = :name""",
        name=lane.keys[0].rpartition("-")[0],
    )
    checks = [
        check("nothing is read while it is being written", not early, early or "nothing was"),
        check("it is taken once and whole", ingests == [(FILE_ROWS, FILE_ROWS, 0)], ingests),
    ]
    return Played(seconds, "the file's last line", checks)


def _write_slowly(place: Place, path: Path, domains: Sequence[str]) -> int:
    """Write line by line, at least until the sensor has looked twice. Returns what it took."""
    since, pause = time.time(), threading.Event()
    of = f"{domains[0].partition('-')[0]}-%"
    with path.open("w", encoding="utf-8") as file:
        file.write("domain\n")
        for number, domain in enumerate(domains):
            file.write(domain[:5])
            file.flush()
            pause.wait(_ROW_S)
            file.write(domain[5:] + "\n")
            file.flush()
            is_last = number == len(domains) - 1
            while is_last and not _looked_twice(place, since):
                # A line that says nothing, so that the file goes on changing.
                file.write("\n")
                file.flush()
                pause.wait(_ROW_S)
        count = "select count(*) from members where domain like :of"
        return int(place.records.number(count, of=of))


def _looked_twice(place: Place, since: float) -> bool:
    return sum(at > since for at in place.dagster.ticks("new_domains")) >= 2


def _advice(place: Place, lane: Lane, random: Random) -> Played:
    """With healing switched off nothing is begun, and what would be is said."""
    phase = random.choice(FETCHING)
    begin(place, lane, slow=[phase])
    worker = at_work(place, lane, phase)
    place.servers.process(worker.pid).kill()
    place.internet.quick(lane)
    run = worker.run_id
    until(lambda: not place.dagster.run(run).is_under_way, 120, "the killed run has ended")
    place.wait_for_ticks(HOLD_TICKS)
    begun = [one.job for one in _of(place, lane) if one.is_by_reconciler]
    healing = place.command("status", "--json").json["healing"]
    notes = " ".join(one["note"] for one in healing["sensors"])
    advice = place.command("heal", "--dry-run", "--json").json
    due = {one["first"] for one in advice["runs_due"]}
    checks = [
        check("nothing is started", not begun, begun),
        check("`pipeline status` says what would be", "would be" in notes, notes),
        check("`pipeline heal --dry-run` says what is due", bool(due), advice),
    ]
    place.restart(PIPELINE_ENABLE_AUTO_RECOVERY="true")
    at = time.time()
    return Played(settled_since(place, lane, at, BOUND_S), "healing switched on again", checks)


CASES = [
    Case(
        "run-cancelled",
        "run cancelled in the UI: held, then `pipeline retry`",
        BOUND_S,
        _cancelled,
        steps="`pipeline retry`",
    ),
    Case(
        "backfill",
        "a backfill of 40 batches launched in the UI while the reconciler runs",
        None,
        _backfill,
        plan=(40, 3),
    ),
    Case(
        "inbox",
        "a file dropped in the inbox while it is being written",
        None,
        _inbox,
        plan=(0, 4),
    ),
    Case(
        "advice",
        "`enable_auto_recovery=false`: a worker killed; then switched on",
        BOUND_S,
        _advice,
        settings={"PIPELINE_ENABLE_AUTO_RECOVERY": "false"},
        steps="switching healing on",
    ),
]
