"""Thirty random faults, one after the other, over one list: whatever may happen to it on its way.

The list comes by the inbox, so that nobody but the product itself ever launches anything.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil

from tests.campaigns.checks import FETCHING
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import Case, Played, check, settled_since
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_servers import START_S, Part
from tests.campaigns.healing_waits import TooLate, until
from tests.support.processes import write_list

DOMAINS, FAULTS, BATCH_SIZE = 2000, 30, 20
BOUND_S = 900.0
# A fault comes once so many more domains have settled, or nothing has for so long.
_PATIENCE_S = 300.0
_OUTAGE_S = (5.0, 30.0)

Fault = Callable[[Place, Lane, Random], None]


def _workers(place: Place, lane: Lane) -> Iterator[psutil.Process]:
    """Processes that have domains in hand."""
    for phase in FETCHING:
        worker = place.records.worker(lane, phase)
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                yield place.servers.process(worker.pid)


def _kill_worker(place: Place, lane: Lane, random: Random) -> None:
    for process in _workers(place, lane):
        process.kill()


def _stop_worker(place: Place, lane: Lane, random: Random) -> None:
    for process in _workers(place, lane):
        process.suspend()


def _kill_daemon(place: Place, lane: Lane, random: Random) -> None:
    killed = place.servers.kill(Part.DAEMON)
    place.servers.replaced(Part.DAEMON, killed, START_S)


def _kill_webserver(place: Place, lane: Lane, random: Random) -> None:
    killed = place.servers.kill(Part.WEBSERVER)
    place.servers.replaced(Part.WEBSERVER, killed, START_S)


def _kill_code_server(place: Place, lane: Lane, random: Random) -> None:
    killed = place.servers.kill(Part.CODE_SERVER, Part.WORKER)
    place.servers.replaced(Part.CODE_SERVER, killed, START_S)


def _kill_everything(place: Place, lane: Lane, random: Random) -> None:
    place.servers.kill_all()
    place.servers.start()


def _restart_in_order(place: Place, lane: Lane, random: Random) -> None:
    place.restart()


def _provider_away(place: Place, lane: Lane, random: Random) -> None:
    api = random.choice(["pdl", "wikidata", "rdap"])
    place.internet.set("away", f'kind = "outage"\napi = "{api}"\nhang_s = 5')
    threading.Event().wait(random.uniform(*_OUTAGE_S))
    place.internet.clear("away")


def _sites_away(place: Place, lane: Lane, random: Random) -> None:
    place.internet.set("sites", 'kind = "status"\napi = "site"\nstatus = 503\nhost_share = 0.2')
    threading.Event().wait(random.uniform(*_OUTAGE_S))
    place.internet.clear("sites")


def _restart_database(place: Place, lane: Lane, random: Random) -> None:
    assert place.database is not None
    place.database.stop()
    place.database.start()


_FAULTS: Mapping[str, Fault] = {
    "worker killed": _kill_worker,
    "worker stopped": _stop_worker,
    "daemon killed": _kill_daemon,
    "webserver killed": _kill_webserver,
    "code server and workers killed": _kill_code_server,
    "everything killed": _kill_everything,
    "servers restarted in order": _restart_in_order,
    "provider away": _provider_away,
    "sites away": _sites_away,
}


def _mixed(place: Place, lane: Lane, random: Random) -> Played:
    faults = dict(_FAULTS)
    if place.database is not None:
        faults["database restarted"] = _restart_database
    place.internet.set("slow", 'kind = "latency"\napi = "site"\nseconds = [0.2, 1.5]')
    place.internet.set("slow rdap", 'kind = "latency"\napi = "rdap"\nseconds = [0.2, 2.0]')
    lane = _drop(place, lane)
    hit: Counter[str] = Counter()
    for number in range(FAULTS):
        left = place.records.unsettled(lane)
        if not left:
            break
        _wait_for_more(place, lane, random.randint(1, max(2, 2 * left // (FAULTS - number) - 1)))
        name = random.choice(sorted(faults))
        faults[name](place, lane, random)
        hit[name] += 1
        print(f"{number + 1}/{FAULTS} {name}: {left} unsettled", file=sys.stderr, flush=True)
    at = time.time()
    for fault in ("slow", "slow rdap"):
        place.internet.clear(fault)
    seconds = settled_since(place, lane, at, BOUND_S)
    found = ", ".join(f"{n} x {name}" for name, n in sorted(hit.items()))
    enough = check(f"{FAULTS} faults hit before all was settled", hit.total() == FAULTS, found)
    return Played(seconds, "the last fault", [enough])


def _drop(place: Place, lane: Lane) -> Lane:
    """Put the list into the inbox in one step, as a careful person does."""
    domains = [f"{lane.prefix}-{n:04}.example" for n in range(DOMAINS)]
    inbox = place.home / "inbox"
    inbox.mkdir(exist_ok=True)
    source = write_list(place.folder / f"{lane.prefix}.csv", domains)
    Path(source).rename(inbox / source.name)
    count = "select count(*) from members where domain like :of"
    until(
        lambda: place.records.number(count, of=f"{lane.prefix}-%") == DOMAINS,
        4 * place.heal_s + 120,
        "the list is taken in",
    )
    return place.know(lane.prefix, domains)


def _wait_for_more(place: Place, lane: Lane, count: int) -> None:
    """Wait until some more have settled; a fault may come sooner than work goes on, too."""
    goal = place.records.settled(lane) + count
    try:
        until(lambda: place.records.settled(lane) >= goal, _PATIENCE_S, "progress", poll_s=0.1)
    except TooLate:
        return


CASES = [
    Case(
        "mixed",
        f"{FAULTS} random faults over one list of {DOMAINS:,} domains",
        BOUND_S,
        _mixed,
        plan=(0, BATCH_SIZE),
        settings={
            "PIPELINE_BATCH_SIZE": str(BATCH_SIZE),
            "PIPELINE_STUCK_AFTER": "20",
            "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "5",
        },
        rounds=1,
    )
]
