"""Drivers: which scopes a living command works through by itself."""

from __future__ import annotations

import subprocess
import sys

from sqlalchemy import update

from resources.adapters.ledger.drivers import OUT_OF_SIGHT_S
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import drivers, workers
from resources.core.models import Phase
from tests.support.requirements import ROOT
from tests.support.time import NOW

SILENT_AFTER_S = 1_800.0
DRIVE_AND_DIE = """
import os, sys
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
ledger = Ledger(Database(sys.argv[1]), 60.0)
ledger.drivers.begin("dead", 1.0)
os._exit(9)
"""


def _living(ledger: Ledger, now: float = NOW) -> set[str]:
    return ledger.drivers.living(now, SILENT_AFTER_S)


def test_a_scope_is_driven_from_its_begin_to_its_end(ledger: Ledger, second: Ledger) -> None:
    assert _living(ledger) == set()
    ledger.drivers.begin("one", NOW)
    ledger.drivers.begin("other", NOW)
    assert _living(second) == {"one", "other"}
    ledger.drivers.end("one", NOW + 1)
    ledger.drivers.end("never begun", NOW + 1)
    assert _living(second) == {"other"}
    ledger.drivers.begin("one", NOW + 2)
    assert _living(second) == {"one", "other"}


def test_a_driver_whose_process_is_gone_drives_nothing(ledger: Ledger) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", DRIVE_AND_DIE, url]
    subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    ledger.drivers.begin("living", NOW)
    assert _living(ledger) == {"living"}


def _move_away(ledger: Ledger) -> None:
    """Let everything that this process began be another machine's."""
    with ledger.database.write() as connection:
        for table in (drivers, workers):
            connection.execute(update(table).values(host="another-host"))


def test_a_driver_on_another_machine_counts_as_long_as_it_may_be_there(ledger: Ledger) -> None:
    ledger.drivers.begin("far", NOW)
    _move_away(ledger)
    assert _living(ledger) == {"far"}
    assert _living(ledger, NOW + OUT_OF_SIGHT_S) == {"far"}
    assert _living(ledger, NOW + OUT_OF_SIGHT_S + 1) == set()


def test_a_worker_of_its_process_tells_that_a_driver_on_another_machine_lives(
    ledger: Ledger,
) -> None:
    ledger.drivers.begin("far", NOW)
    worker = ledger.workers.begin(Phase.PAGE_SCRAPING, "run", NOW)
    ledger.workers.beat(worker, NOW + 800, 0, 1)
    _move_away(ledger)
    assert _living(ledger, NOW + 800 + OUT_OF_SIGHT_S) == {"far"}
    assert _living(ledger, NOW + 801 + OUT_OF_SIGHT_S) == set()


def test_a_driver_that_is_stopped_for_long_drives_nothing_until_it_goes_on(ledger: Ledger) -> None:
    ledger.drivers.begin("here", NOW)
    assert _living(ledger, NOW + SILENT_AFTER_S) == {"here"}
    assert _living(ledger, NOW + SILENT_AFTER_S + 1) == set()
    ledger.drivers.beat("here", NOW + SILENT_AFTER_S + 5)
    assert _living(ledger, NOW + 2 * SILENT_AFTER_S) == {"here"}


def test_a_driver_that_waits_on_purpose_is_not_silent_before_the_wait_is_over(
    ledger: Ledger,
) -> None:
    ledger.drivers.begin("here", NOW)
    ledger.drivers.beat("here", NOW + 1, waits_until=NOW + 90_000)
    assert _living(ledger, NOW + 90_000 + SILENT_AFTER_S) == {"here"}
    assert _living(ledger, NOW + 90_001 + SILENT_AFTER_S) == set()
    # Once it works again, the wait is over.
    ledger.drivers.beat("here", NOW + 2)
    assert _living(ledger, NOW + 3 + SILENT_AFTER_S) == set()


def test_a_driver_that_has_ended_gives_no_sign_any_more(ledger: Ledger) -> None:
    ledger.drivers.begin("here", NOW)
    ledger.drivers.end("here", NOW + 1)
    ledger.drivers.beat("here", NOW + 2)
    assert _living(ledger, NOW + 3) == set()
