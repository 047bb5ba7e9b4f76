"""What counts as progress of a worker, and what it tells of its waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from resources.adapters.ledger.calls import Budget, EndedCall, NewCall
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.pages import PageRow
from resources.adapters.ledger.runs import RunSigns
from resources.adapters.ledger.schema import workers
from resources.adapters.work_queue import LedgerWorkQueue
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import Phase, RawAnswer, State
from resources.core.rounds import Change
from tests.support.ledgers import CODE, LEASE_S, add_list
from tests.support.time import NOW, ManualClock

PHASE = Phase.PAGE_SCRAPING
KEY = "a-00001"
DOMAINS = [f"d{number}.example" for number in range(8)]
NO_NETWORK = Failure(FailureKind.LOCAL_NETWORK, "no network")


class Worker:
    """A worker of a run, its commits and its queue."""

    def __init__(self, ledger: Ledger) -> None:
        add_list(ledger, "a", DOMAINS)
        self.ledger = ledger
        self.clock = ManualClock()
        self.id = ledger.workers.begin(PHASE, "run-1", NOW)
        self.commits = CommitQueue(ledger.database, 50, self.id, self.clock)
        self.queue = LedgerWorkQueue(ledger, self.commits, self.clock, PHASE, self.id, CODE)
        self.claim(4)
        self.clock.advance(10)

    def claim(self, limit: int) -> None:
        asyncio.run(self.queue.claim([KEY], limit, self.clock.now() + 1))

    def settle(self, domain: str) -> None:
        asyncio.run(self.queue.settle(Change(domain, State.SUCCEEDED, 0, payload=b"x")))

    def commit(self, operation: Callable[[], Any]) -> Any:
        return asyncio.run(self.commits.commit(operation, is_progress=True))

    @property
    def signs(self) -> RunSigns:
        return self.ledger.runs.signs(["run-1"])["run-1"]

    @property
    def progress_at(self) -> float:
        return self.signs.progress_at


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    worker = Worker(ledger)
    yield worker
    worker.commits.close()


def _page(url: str) -> PageRow:
    return PageRow(DOMAINS[0], url, "home", url, 200, "text/html", None, 0, NOW)


# -- what is progress -------------------------------------------------------------------------


def test_a_state_that_is_committed_is_progress(worker: Worker) -> None:
    worker.settle(DOMAINS[0])
    assert worker.progress_at == NOW + 10


def test_what_is_left_to_wait_is_progress(worker: Worker) -> None:
    asyncio.run(worker.queue.hold([KEY], NO_NETWORK))
    assert worker.progress_at == NOW + 10


def test_a_call_is_progress_when_it_is_sent_and_when_it_is_answered(worker: Worker) -> None:
    calls, clock = worker.ledger.calls, worker.clock
    new = NewCall("pdl", DOMAINS[:1], worker.id, Budget("scope", None), 1.0, clock.now())

    async def call() -> None:
        sending = worker.commits.commit_one_of(calls.begin_many, new, is_progress=True)
        call_id = await sending
        assert worker.progress_at == NOW + 10
        clock.advance(30)
        answer = RawAnswer(b"{}", "https://pdl/", clock.now())
        ended = EndedCall(call_id, "pdl", {DOMAINS[0]: answer}, clock.now())
        await worker.commits.commit_one_of(calls.finish_many, ended, is_progress=True)

    asyncio.run(call())
    assert worker.progress_at == NOW + 40


def test_a_page_is_progress(worker: Worker) -> None:
    worker.commit(lambda: worker.ledger.pages.save_many([_page("https://d0.example/")]))
    assert worker.progress_at == NOW + 10


def test_a_worker_that_only_beats_claims_and_counts_makes_none(worker: Worker) -> None:
    for _ in range(3):
        worker.clock.advance(LEASE_S / 2)
        asyncio.run(worker.queue.beat(0, 8, "a-00001"))
        worker.claim(1)
        asyncio.run(worker.queue.tallies([KEY]))
    assert worker.progress_at == 0.0


def test_what_others_took_over_is_no_progress(worker: Worker) -> None:
    with pytest.raises(LeaseLost):
        worker.settle(DOMAINS[7])  # it was never claimed
    assert worker.progress_at == 0.0


def test_what_is_undone_is_no_progress(worker: Worker) -> None:
    def fail() -> None:
        worker.ledger.pages.save_many([_page("https://d0.example/")])
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        worker.commit(fail)
    assert worker.progress_at == 0.0
    worker.settle(DOMAINS[0])  # and the next one is told at once
    assert worker.progress_at == NOW + 10


def test_one_bad_write_does_not_hide_the_progress_of_its_group(worker: Worker) -> None:
    def fail() -> None:
        raise RuntimeError("spoilt")

    async def write() -> None:
        changes = [Change(domain, State.NOT_FOUND, 0) for domain in DOMAINS[:3]]
        settling = (worker.queue.settle(change) for change in changes)
        spoiling = worker.commits.commit(fail, is_progress=True)
        await asyncio.gather(*settling, spoiling, return_exceptions=True)

    asyncio.run(write())
    assert worker.progress_at == NOW + 10


def test_a_queue_that_is_no_workers_notes_nothing(worker: Worker) -> None:
    commits = CommitQueue(worker.ledger.database, 50, clock=worker.clock)
    saving = commits.commit(
        lambda: worker.ledger.pages.save_many([_page("https://d0.example/")]), is_progress=True
    )
    asyncio.run(saving)
    commits.close()
    assert worker.progress_at == 0.0


# -- what it costs ----------------------------------------------------------------------------


def test_progress_is_noted_once_a_second_at_most(worker: Worker) -> None:
    updates: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        updates.append(statement)

    engine = worker.ledger.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for seconds in (0.0, 0.4, 0.4, 0.4, 0.4):
            worker.clock.advance(seconds)
            worker.commit(lambda: worker.ledger.pages.save_many([_page("https://d0.example/")]))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len([one for one in updates if one.startswith("UPDATE workers")]) == 2
    assert worker.progress_at == pytest.approx(NOW + 11.2)


def test_a_clock_that_is_set_back_does_not_hide_progress(worker: Worker) -> None:
    worker.settle(DOMAINS[0])
    worker.clock.advance(-3600)
    worker.settle(DOMAINS[1])
    assert worker.progress_at == NOW + 10 - 3600


# -- waits ------------------------------------------------------------------------------------


def test_a_beat_tells_until_when_a_worker_waits_on_purpose(worker: Worker) -> None:
    asyncio.run(worker.queue.beat(0, 8, None, NOW + 300))
    assert worker.signs == RunSigns(0.0, NOW + 300, interrupted=False)
    asyncio.run(worker.queue.beat(1, 8))
    assert worker.signs.waits_until == 0.0


def test_a_worker_that_ends_waits_no_more(worker: Worker) -> None:
    asyncio.run(worker.queue.beat(0, 8, None, NOW + 300))
    asyncio.run(worker.queue.end("finished"))
    assert worker.signs.waits_until == 0.0
    with worker.ledger.database.read() as connection:
        assert connection.execute(select(workers.c.end_reason)).scalar_one() == "finished"
