"""Faults of run workers: killed, stopped, busy with nothing, killed by a page or its server."""

from __future__ import annotations

import time
from contextlib import suppress
from random import Random

import psutil

from tests.campaigns.checks import FETCHING, PARTITIONED, Check
from tests.campaigns.healing_checks import finish_s, unfinished
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import Case, Played, at_work, begin, check, settled_since
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_servers import Part
from tests.campaigns.healing_waits import until

BOUND_S = 120.0
STUCK_AFTER_S = 20.0
_STUCK = {"PIPELINE_STUCK_AFTER": f"{STUCK_AFTER_S:g}"}
_SPINNING_S = 60.0


def _killed(place: Place, lane: Lane, random: Random) -> Played:
    phase = random.choice(FETCHING)
    begin(place, lane, slow=[phase])
    worker = at_work(place, lane, phase)
    place.servers.process(worker.pid).kill()
    at = time.time()
    place.internet.quick(lane)
    return Played(settled_since(place, lane, at, BOUND_S), f"the kill, in {phase}")


def _stopped(place: Place, lane: Lane, random: Random) -> Played:
    phase = random.choice(FETCHING)
    begin(place, lane, slow=[phase])
    process = place.servers.process(at_work(place, lane, phase).pid)
    process.suspend()
    at = time.time()
    place.internet.quick(lane)
    seconds = settled_since(place, lane, at, STUCK_AFTER_S + BOUND_S)
    checks = _continued(place, lane, process)
    return Played(seconds, f"SIGSTOP, in {phase}", checks)


def _continued(place: Place, lane: Lane, process: psutil.Process) -> list[Check]:
    """Let a stopped worker go on once everything is done: nothing may come of it."""
    until(lambda: not unfinished(place, lane), finish_s(place), f"{lane.prefix} is finished")
    before = _all_records(place, lane)
    is_gone = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    with suppress(psutil.NoSuchProcess):
        process.resume()
    place.wait_for_ticks(1)
    after = _all_records(place, lane)
    changed = [name for name, rows in before.items() if after[name] != rows]
    return [
        check("the stopped worker was ended", is_gone, f"process {process.pid}"),
        check("SIGCONT changes nothing", not changed, changed or f"{len(before)} tables are equal"),
    ]


def _all_records(place: Place, lane: Lane) -> dict[str, object]:
    """What ledger and Dagster hold about a lane."""
    runs = {run.id: run.status for run in place.dagster.runs() if run.covers(lane.keys)}
    shown = {asset: place.dagster.statuses(asset) for asset in PARTITIONED}
    mine = {asset: [found.get(key) for key in lane.keys] for asset, found in shown.items()}
    return {**place.records.everything(lane), "runs in Dagster": runs, **mine}


def _busy(place: Place, lane: Lane, random: Random) -> Played:
    """The trap is sprung by whoever begins the second batch: by then its beat goes on."""
    (place.traps / "spin").write_text("\n".join(lane.keys[1:]), encoding="utf-8")
    runs = begin(place, lane, phases=["PAGE_SCRAPING"])
    sprung = place.traps / "spinning"
    until(sprung.exists, _SPINNING_S, "a worker spins", poll_s=0.05)
    at, run = time.time(), runs["PAGE_SCRAPING"]
    beat = until(lambda: place.records.beat_of(run), 30, "its first beat")
    until(lambda: place.records.beat_of(run) > beat, 30, "its beat goes on")
    begin(place, lane, phases=["COMPANY_ENRICHMENT"])
    seconds = settled_since(place, lane, at, STUCK_AFTER_S + BOUND_S)
    status = until(lambda: _end_of(place, run), 60, "the run has ended")
    failed = check("the busy run is shown as failed", status == "FAILURE", status)
    return Played(seconds, "the beginning of the loop", [failed])


def _end_of(place: Place, run_id: str) -> str | None:
    run = place.dagster.run(run_id)
    return None if run.is_under_way else run.status


def _crashing_page(place: Place, lane: Lane, random: Random) -> Played:
    guilty = random.choice(lane.domains)
    (place.traps / "crash").write_text(guilty, encoding="utf-8")
    place.expect(lane, ("PAGE_SCRAPING", guilty))
    # Long enough in hand to be seen there.
    where = f'kind = "latency"\napi = "site"\nhost = "*{guilty}"\nseconds = 2.0'
    place.internet.set(f"slow {lane.prefix} guilty", where)
    at = time.time()
    begin(place, lane, phases=["PAGE_SCRAPING"])
    begin(place, lane, phases=["COMPANY_ENRICHMENT"])
    return Played(settled_since(place, lane, at, 600.0), "the launch")


def _code_server(place: Place, lane: Lane, random: Random) -> Played:
    begin(place, lane, slow=FETCHING)
    for phase in FETCHING:
        at_work(place, lane, phase)
    killed = place.servers.kill(Part.CODE_SERVER, Part.WORKER)
    at = time.time()
    place.internet.quick(lane)
    seconds = settled_since(place, lane, at, BOUND_S)
    return Played(seconds, f"the kill of {len(killed)} processes")


CASES = [
    Case("worker-killed", "SIGKILL of a run worker", BOUND_S, _killed),
    Case(
        "worker-stopped",
        f"SIGSTOP of a run worker (`stuck_after` = {STUCK_AFTER_S:g} s)",
        STUCK_AFTER_S + BOUND_S,
        _stopped,
        settings=_STUCK,
    ),
    Case(
        "worker-busy",
        "worker in a busy loop that makes no progress, its beat still going",
        STUCK_AFTER_S + BOUND_S,
        _busy,
        # So that what is in hand is little: it still settles while the main thread spins.
        settings={**_STUCK, "PIPELINE_FETCH__CONCURRENCY": "2"},
        is_trapped=True,
    ),
    Case(
        "page-crashes",
        "a page that crashes the worker",
        None,
        _crashing_page,
        # Each halving of the suspects costs a run.
        plan=(2, 2),
        is_trapped=True,
    ),
    Case(
        "code-server",
        "code server and workers killed together",
        BOUND_S,
        _code_server,
    ),
]
