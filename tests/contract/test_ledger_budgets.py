"""Limits of credits: an invocation's is what it began with, whoever goes on with its work."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from resources.adapters.ledger.ledger import Ledger
from tests.support.time import NOW


@pytest.mark.parametrize("first", [5.0, 0.0, None])
def test_the_first_limit_holds_for_ever(
    ledger: Ledger, second: Ledger, first: float | None
) -> None:
    assert ledger.budgets.limit_of("one", first, NOW) == first
    assert second.budgets.limit_of("one", 99.0, NOW + 1) == first
    assert ledger.budgets.limit_of("one", None, NOW + 2) == first


def test_each_invocation_has_its_own(ledger: Ledger) -> None:
    ledger.budgets.limit_of("one", 5.0, NOW)
    assert ledger.budgets.limit_of("other", 7.0, NOW) == 7.0
    assert ledger.budgets.limit_of("one", 7.0, NOW) == 5.0


def test_processes_that_begin_at_once_are_held_to_the_same_limit(
    ledger: Ledger, second: Ledger
) -> None:
    for number in range(20):
        barrier = Barrier(2)
        found: list[float | None] = []

        def ask(
            own: Ledger,
            limit: float,
            scope: str = f"scope-{number}",
            barrier: Barrier = barrier,
            found: list[float | None] = found,
        ) -> None:
            barrier.wait()
            found.append(own.budgets.limit_of(scope, limit, NOW))

        threads = [Thread(target=ask, args=args) for args in ((ledger, 1.0), (second, 2.0))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found in ([1.0, 1.0], [2.0, 2.0])
