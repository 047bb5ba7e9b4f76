"""Stale profiles: what a look leaves for the next one."""

from __future__ import annotations

from resources.adapters.ledger.ledger import Ledger


def test_what_is_noted_as_stale_stays_until_it_is_noted_as_current(ledger: Ledger) -> None:
    stale = ledger.stale_profiles
    assert stale.all() == {}
    stale.change({"a-1": "f1", "a-2": "f1"}, {})
    stale.change({"a-1": "f2"}, {})
    assert stale.all() == {"a-1": "f2", "a-2": "f1"}
    stale.change({}, {"a-2": "f1"})
    assert stale.all() == {"a-1": "f2"}
    stale.change({}, {})
    assert stale.all() == {"a-1": "f2"}


def test_an_older_look_does_not_undo_a_newer_one(ledger: Ledger) -> None:
    ledger.stale_profiles.change({"a-1": "f2"}, {})
    ledger.stale_profiles.change({}, {"a-1": "f1"})
    assert ledger.stale_profiles.all() == {"a-1": "f2"}


def test_any_number_of_them_can_be_noted(ledger: Ledger) -> None:
    many = {f"a-{number}": "f" for number in range(12_000)}
    ledger.stale_profiles.change(many, {})
    assert ledger.stale_profiles.all() == many
    ledger.stale_profiles.change({}, many)
    assert ledger.stale_profiles.all() == {}
