"""Commits hold several processes' changes of breakers and paces, in whatever order these came: no
two of them ever wait for each other for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.core.breaker import BreakerPolicy
from resources.core.pacing import PaceLimits
from tests.support.time import NOW

POLICY = BreakerPolicy()
LIMITS = PaceLimits(rate=10.0, burst=10.0, concurrency=4)
Change = Callable[[Ledger], object]
# So long that the other one has begun; it may have to wait until we have ended.
PATIENCE_S = 0.5


def fails(endpoint: str) -> Change:
    return lambda ledger: ledger.breakers.failed(endpoint, "HTTP 503", 0, None, NOW, POLICY)


def draws(endpoint: str) -> Change:
    return lambda ledger: ledger.paces.draw(endpoint, "w", LIMITS, in_flight=0, waiting=1, now=NOW)


def waits(endpoint: str) -> Change:
    return lambda ledger: ledger.paces.hold_until(endpoint, LIMITS, NOW + 1.0, NOW)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (draws("pdl"), fails("pdl")),
        (draws("pdl"), draws("wikidata")),
        (fails("site/a.example"), fails("site/b.example")),
        (waits("site/a.example"), draws("pdl")),
    ],
)
def test_changes_in_opposite_orders_end_both(
    ledger: Ledger, second: Ledger, first: Change, then: Change
) -> None:
    for change in (first, then):
        change(ledger)  # the rows are there
    is_begun = (threading.Event(), threading.Event())

    def commit(own: Ledger, me: int, changes: Sequence[Change]) -> None:
        with own.database.write():
            changes[0](own)
            is_begun[me].set()
            is_begun[1 - me].wait(PATIENCE_S)
            changes[1](own)

    with ThreadPoolExecutor(2) as threads:
        ended = [
            threads.submit(commit, ledger, 0, (first, then)),
            threads.submit(commit, second, 1, (then, first)),
        ]
        for one in ended:
            one.result(timeout=30)
