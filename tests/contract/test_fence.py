"""A worker that was declared dead writes nothing more, whatever it was in the middle of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.pages import PageRow
from resources.adapters.ledger.schema import meta, metadata, workers
from resources.adapters.work_queue import LedgerWorkQueue
from resources.core.errors import LeaseLost
from resources.core.models import Phase, State
from resources.core.rounds import Change
from tests.support.ledgers import CODE, LEASE_S, add_list, new_database, open_at
from tests.support.time import NOW, ManualClock

PHASE = Phase.PAGE_SCRAPING
KEY = "a-00001"
DOMAINS = ["one.example", "two.example"]
LATER = NOW + LEASE_S + 1


class Worker:
    """A worker with two domains in hand, and its queue."""

    def __init__(self, ledger: Ledger) -> None:
        add_list(ledger, "a", DOMAINS)
        self.ledger = ledger
        self.id = ledger.workers.begin(PHASE, "run", NOW)
        self.commits = CommitQueue(ledger.database, 50, self.id)
        self.queue = LedgerWorkQueue(ledger, self.commits, ManualClock(), PHASE, self.id, CODE)
        self.claimed = ledger.work.claim(self.id, PHASE, [KEY], 10, NOW + 1, NOW)

    def commit(self, operation: Callable[[], object]) -> object:
        return asyncio.run(self.commits.commit(operation))


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    worker = Worker(ledger)
    yield worker
    worker.commits.close()


def _rows(ledger: Ledger) -> dict[str, list[object]]:
    with ledger.database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def _page(url: str) -> PageRow:
    return PageRow(DOMAINS[0], url, "home", url, 200, "text/html", None, 0, NOW)


def test_no_write_of_a_buried_worker_changes_a_row(worker: Worker, second: Ledger) -> None:
    worker.commit(lambda: worker.ledger.pages.save_many([_page("https://one.example/")]))
    assert second.workers.bury_dead(LATER) == ["run"]
    before = _rows(second)
    with pytest.raises(LeaseLost):
        worker.commit(lambda: worker.ledger.pages.save_many([_page("https://one.example/about")]))
    with pytest.raises(LeaseLost):
        asyncio.run(worker.queue.settle(Change(DOMAINS[0], State.SUCCEEDED, 0)))
    with pytest.raises(LeaseLost):
        asyncio.run(worker.queue.beat(1, 2))
    with pytest.raises(LeaseLost):
        asyncio.run(worker.queue.claim([KEY], 10, LATER))
    assert _rows(second) == before


def test_all_writes_that_come_together_are_refused(worker: Worker, second: Ledger) -> None:
    second.workers.bury_dead(LATER)
    before = _rows(second)

    async def run() -> list[object]:
        urls = [f"https://one.example/{number}" for number in range(20)]
        return await asyncio.gather(
            *(
                worker.commits.commit(lambda url=url: worker.ledger.pages.save_many([_page(url)]))
                for url in urls
            ),
            return_exceptions=True,
        )

    assert {type(refused) for refused in asyncio.run(run())} == {LeaseLost}
    assert _rows(second) == before


def test_ending_a_buried_worker_is_no_trouble_and_changes_nothing(
    worker: Worker, second: Ledger
) -> None:
    second.workers.bury_dead(LATER)
    other = second.workers.begin(PHASE, "other", LATER)
    second.work.claim(other, PHASE, [KEY], 10, LATER, LATER)
    before = _rows(second)
    asyncio.run(worker.queue.end("lease_lost"))
    assert _rows(second) == before


def test_a_worker_that_ended_by_itself_keeps_what_its_last_calls_bring(worker: Worker) -> None:
    """A run that is interrupted waits for the paid calls under way."""
    asyncio.run(worker.queue.end("interrupted"))
    worker.commit(lambda: worker.ledger.pages.save_many([_page("https://one.example/")]))
    assert list(worker.ledger.pages.of_domain(DOMAINS[0])) == ["https://one.example/"]
    with pytest.raises(LeaseLost):
        asyncio.run(worker.queue.claim([KEY], 10, LATER))


def test_a_burial_waits_for_the_commit_under_way(worker: Worker, second: Ledger) -> None:
    """Otherwise it could come between the question whether the worker lives and its writes."""
    buried = Event()

    def bury() -> None:
        second.workers.bury_dead(LATER)
        buried.set()

    burial = Thread(target=bury)

    def save_while_somebody_buries() -> bool:
        burial.start()
        came_between = buried.wait(0.5)
        worker.ledger.pages.save_many([_page("https://one.example/")])
        return came_between

    assert worker.commit(save_while_somebody_buries) is False
    burial.join(20)
    assert buried.is_set()
    with pytest.raises(LeaseLost):
        worker.commit(lambda: worker.ledger.pages.save_many([_page("https://one.example/about")]))


def test_a_beat_that_came_in_time_keeps_the_worker(worker: Worker, second: Ledger) -> None:
    with second.database.write() as connection:
        connection.execute(
            update(workers).where(workers.c.id == worker.id).values(lease_until=NOW - 1)
        )
    asyncio.run(worker.queue.beat(0, 2))
    assert second.workers.bury_dead(NOW + 1) == []
    assert len(worker.claimed) == 2


def test_the_process_of_a_buried_worker_is_told(worker: Worker, second: Ledger) -> None:
    worker.ledger.workers.require_process_unburied()
    second.workers.bury_dead(LATER)
    with pytest.raises(LeaseLost, match="longer than its lease"):
        worker.ledger.workers.require_process_unburied()


def test_a_process_whose_workers_ended_by_themselves_goes_on(worker: Worker) -> None:
    worker.ledger.workers.end(worker.id, NOW, "finished")
    worker.ledger.workers.require_process_unburied()


def test_what_a_broken_off_attempt_of_a_run_left_is_given_back(worker: Worker) -> None:
    other = worker.ledger.workers.begin(PHASE, "other", NOW)
    worker.ledger.workers.end_of_process(NOW, "broken off", "run")
    tasks = worker.ledger.work.claim(other, PHASE, [KEY], 10, LATER, NOW)
    assert {task.domain for task in tasks} == set(DOMAINS)
    with worker.ledger.database.read() as connection:
        reasons = dict(map(tuple, connection.execute(select(workers.c.id, workers.c.end_reason))))
    assert reasons == {worker.id: "broken off", other: None}


def test_a_process_that_stands_still_within_a_transaction_holds_up_nobody_for_long(
    server: str,
) -> None:
    """PostgreSQL can end its session; nobody can do that for SQLite."""
    with new_database(server, "idle") as url:
        ledger, stopped = open_at(url), Database(url, idle_limit_s=0.5)

        def write(database: Database, value: str) -> None:
            with database.write() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '20s'"))
                connection.execute(database.upsert(meta, ["key"]).values(key="a", value=value))
                if database is stopped:
                    write(ledger.database, "theirs")

        write(ledger.database, "first")
        with pytest.raises(OperationalError, match=r"closed the connection|terminating"):
            write(stopped, "late")
        with ledger.database.read() as connection:
            found = connection.execute(select(meta.c.value).where(meta.c.key == "a"))
            assert found.scalar_one() == "theirs"
        stopped.close()
        ledger.close()
