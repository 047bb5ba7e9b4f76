"""Domains of two lists: what one list's run has in hand is neither free nor due for the other."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import workers
from resources.core.errors import FailureKind
from resources.core.models import Phase, State
from resources.core.recovery import OpenWork, open_work
from resources.core.rounds import Change
from resources.core.tallies import NOT_TRIED, sum_up
from tests.support.ledgers import CODE, add_list
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
ONE, OTHER = "one-00001", "other-00001"
DOMAINS = ["a.example", "b.example"]


@pytest.fixture(autouse=True)
def _lists(ledger: Ledger) -> None:
    for name in ("one", "other"):
        add_list(ledger, name, DOMAINS)


@pytest.fixture
def worker(ledger: Ledger) -> str:
    return ledger.workers.begin(PHASE, "run of the first list", NOW)


def _claim(ledger: Ledger, worker: str, limit: int, due_before: float = NOW + 1) -> list[str]:
    tasks = ledger.work.claim(worker, PHASE, [ONE], limit, due_before, NOW)
    return [task.domain for task in tasks]


def _settle(ledger: Ledger, worker: str, domain: str, state: State, **values: object) -> None:
    change = Change(domain, state, **{"rounds": 0, **values})  # type: ignore[arg-type]
    ledger.work.settle(worker, PHASE, change, CODE, NOW)


def _open(ledger: Ledger, key: str = OTHER) -> OpenWork:
    return open_work(ledger.work.tallies(PHASE, [key])[key])


def test_a_refresh_in_hand_is_not_free(ledger: Ledger, worker: str) -> None:
    for domain in _claim(ledger, worker, 2):
        _settle(ledger, worker, domain, State.SUCCEEDED, payload=b"x")
    ledger.work.expire(PHASE, [OTHER], NOW + 1, NOW)
    assert _open(ledger) == OpenWork({NOT_TRIED: 2}, 0, 0.0)
    _claim(ledger, worker, 1)
    assert _open(ledger) == OpenWork({NOT_TRIED: 1}, 1, 0.0)
    _claim(ledger, worker, 1)
    assert _open(ledger) == OpenWork({}, 2, None)
    total = sum_up(ledger.work.tallies(PHASE, [ONE, OTHER]).values())
    assert (total.refreshing, total.refreshing_claimed) == (4, 4)


def test_a_time_of_what_is_in_hand_makes_nothing_due(ledger: Ledger, worker: str) -> None:
    _claim(ledger, worker, 2)
    for domain, due_at in zip(DOMAINS, (NOW + 1, NOW + 500), strict=True):
        slow = {"kind": FailureKind.TIMEOUT, "rounds": 1, "not_before": due_at}
        _settle(ledger, worker, domain, State.WAITING, **slow)
    assert _open(ledger) == OpenWork({"timeout": 2}, 0, NOW + 1)
    assert _claim(ledger, worker, 2, due_before=NOW + 2) == DOMAINS[:1]
    assert _open(ledger) == OpenWork({"timeout": 1}, 1, NOW + 500)


def test_what_an_ended_worker_is_named_with_is_free(ledger: Ledger, worker: str) -> None:
    _claim(ledger, worker, 2)
    assert _open(ledger) == OpenWork({}, 2, None)
    with ledger.database.write() as connection:
        connection.execute(update(workers).where(workers.c.id == worker).values(ended_at=NOW))
    assert _open(ledger) == OpenWork({"pending": 2}, 0, 0.0)
