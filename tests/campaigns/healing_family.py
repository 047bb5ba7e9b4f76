"""Faults of the servers: the daemon killed or silenced, everything killed, the database away."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from random import Random

import psutil

from tests.campaigns.checks import FETCHING
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import Case, Played, at_work, begin, check, settled_since
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_servers import START_S, Part
from tests.campaigns.healing_waits import until

BOUND_S = 120.0
DAEMON_BOUND_S = 60.0
# From what a worker sits out to what breaks every run off.
AWAY_S = (0.0, 30.0)
# After so many intervals without a tick a sensor counts as silent, and none of them as shorter.
SILENT_INTERVALS, LEAST_INTERVAL_S = 3, 10.0
# What the watch may need beyond them: it looks every half minute.
WATCH_S = 60.0


def _daemon(place: Place, lane: Lane, random: Random) -> Played:
    """One run is at work and another is asked for while there is no daemon to launch it."""
    first, second = random.sample(FETCHING, 2)
    begin(place, lane, slow=[first], phases=[first])
    at_work(place, lane, first)
    killed = place.servers.kill(Part.DAEMON)
    begin(place, lane, phases=[second])
    back = place.servers.replaced(Part.DAEMON, killed, START_S)
    at = back.create_time()
    place.internet.quick(lane)
    return Played(settled_since(place, lane, at, DAEMON_BOUND_S), "the new daemon's start")


def _everything(place: Place, lane: Lane, random: Random) -> Played:
    begin(place, lane, slow=FETCHING)
    for phase in FETCHING:
        at_work(place, lane, phase)
    place.servers.kill_all()
    place.servers.start()
    at = time.time()
    place.internet.quick(lane)
    return Played(settled_since(place, lane, at, BOUND_S), "the webserver's first answer")


def _silenced(place: Place, lane: Lane, random: Random) -> Played:
    """A stopped daemon is alive for everybody who only looks at processes."""
    place.wait_for_ticks(1)
    (daemon,) = place.servers.part(Part.DAEMON)
    daemon.suspend()
    at = time.time()
    bound_s = SILENT_INTERVALS * max(place.heal_s, LEAST_INTERVAL_S) + WATCH_S
    words = ("daemon", "silent", "ticked")
    try:
        until(lambda: place.webhook.about(words, at), 2 * bound_s, "an alert about the daemon")
        told_at = place.webhook.about(words, at)[0].at
        status, doctor = (place.command(command).out.lower() for command in ("status", "doctor"))
    finally:
        with suppress(psutil.NoSuchProcess):
            daemon.resume()
    begin(place, lane)
    settled_since(place, lane, time.time(), BOUND_S)
    about = place.webhook.about(words, at)
    checks = [
        check("`pipeline status` says so", "silent" in status, status[-400:]),
        check("`pipeline doctor` says so", "silent" in doctor, doctor[-400:]),
        check("one alert, and at most one when it is over", len(about) <= 2, about),
    ]
    return Played(told_at - at, "SIGSTOP of the daemon, until the alert", checks, bound_s)


def _database(place: Place, lane: Lane, random: Random) -> Played:
    assert place.database is not None
    phase = random.choice(FETCHING)
    begin(place, lane, slow=[phase])
    at_work(place, lane, phase)
    away_s = random.uniform(*AWAY_S)
    place.database.stop()
    threading.Event().wait(away_s)
    place.database.start()
    at = time.time()
    place.internet.quick(lane)
    since = f"the database's return, after {away_s:.0f} s in {phase}"
    return Played(settled_since(place, lane, at, BOUND_S), since)


CASES = [
    Case("daemon-killed", "daemon killed and restarted", DAEMON_BOUND_S, _daemon),
    Case(
        "everything-killed",
        "everything killed, then `pipeline ui` again (container restart)",
        BOUND_S,
        _everything,
    ),
    Case("daemon-silenced", "daemon stopped: the alert about it", None, _silenced),
    Case(
        "database-restarted",
        "database restarted (PostgreSQL)",
        BOUND_S,
        _database,
        needs_postgresql=True,
    ),
]
