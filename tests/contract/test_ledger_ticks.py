"""Ticks: when each sensor last did its work."""

from __future__ import annotations

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.ticks import Tick
from tests.support.time import NOW


def test_the_newest_tick_of_each_is_kept(ledger: Ledger, second: Ledger) -> None:
    assert ledger.ticks.all() == {}
    ledger.ticks.note("stuck_runs", 300.0, "2 runs are under way", NOW)
    ledger.ticks.note("heal_batches", 60.0, "everything requested is settled", NOW)
    second.ticks.note("heal_batches", 30.0, "3 due \x00", NOW + 60)
    assert ledger.ticks.all() == {
        "heal_batches": Tick("heal_batches", NOW + 60, 30.0, "3 due "),
        "stuck_runs": Tick("stuck_runs", NOW, 300.0, "2 runs are under way"),
    }


def test_the_first_tick_of_all_is_remembered(ledger: Ledger) -> None:
    assert ledger.ticks.since() is None
    ledger.ticks.note("one", 60.0, "", NOW)
    ledger.ticks.note("one", 60.0, "", NOW + 60)
    ledger.ticks.note("other", 60.0, "", NOW - 60)  # the clock of another machine
    assert ledger.ticks.since() == NOW
