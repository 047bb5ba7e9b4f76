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

DRIVE_AND_DIE = """
import os, sys
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
ledger = Ledger(Database(sys.argv[1]), 60.0)
ledger.drivers.begin("dead", 1.0)
os._exit(9)
"""


def test_a_scope_is_driven_from_its_begin_to_its_end(ledger: Ledger, second: Ledger) -> None:
    assert ledger.drivers.living() == set()
    ledger.drivers.begin("one", NOW)
    ledger.drivers.begin("other", NOW)
    assert second.drivers.living() == {"one", "other"}
    ledger.drivers.end("one", NOW + 1)
    ledger.drivers.end("never begun", NOW + 1)
    assert second.drivers.living() == {"other"}
    ledger.drivers.begin("one", NOW + 2)
    assert second.drivers.living() == {"one", "other"}


def test_a_driver_whose_process_is_gone_drives_nothing(ledger: Ledger) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", DRIVE_AND_DIE, url]
    subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    ledger.drivers.begin("living", NOW)
    assert ledger.drivers.living() == {"living"}
    assert ledger.drivers.living(NOW) == {"living"}


def _move_away(ledger: Ledger) -> None:
    """Let everything that this process began be another machine's."""
    with ledger.database.write() as connection:
        for table in (drivers, workers):
            connection.execute(update(table).values(host="another-host"))


def test_a_driver_on_another_machine_counts_as_long_as_it_may_be_there(ledger: Ledger) -> None:
    ledger.drivers.begin("far", NOW)
    _move_away(ledger)
    assert ledger.drivers.living() == {"far"}
    assert ledger.drivers.living(NOW + OUT_OF_SIGHT_S) == {"far"}
    assert ledger.drivers.living(NOW + OUT_OF_SIGHT_S + 1) == set()


def test_a_worker_of_its_process_tells_that_a_driver_on_another_machine_lives(
    ledger: Ledger,
) -> None:
    ledger.drivers.begin("far", NOW)
    worker = ledger.workers.begin(Phase.PAGE_SCRAPING, "run", NOW)
    ledger.workers.beat(worker, NOW + 800, 0, 1)
    _move_away(ledger)
    assert ledger.drivers.living(NOW + 800 + OUT_OF_SIGHT_S) == {"far"}
    assert ledger.drivers.living(NOW + 801 + OUT_OF_SIGHT_S) == set()


def test_a_driver_of_this_machine_needs_no_sign(ledger: Ledger) -> None:
    ledger.drivers.begin("here", NOW)
    assert ledger.drivers.living(NOW + 100 * OUT_OF_SIGHT_S) == {"here"}
