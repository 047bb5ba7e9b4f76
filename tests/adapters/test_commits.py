"""Group commits: few transactions, and each write answers for itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from resources.adapters.ledger.commits import APART_S, BUSY_FROM, CommitQueue
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import meta
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import ManualClock


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_at(sqlite_url(tmp_path))
    yield ledger
    ledger.close()


@pytest.fixture
def commits(ledger: Ledger) -> Iterator[CommitQueue]:
    queue = CommitQueue(ledger.database, 50)
    yield queue
    queue.close()


def _insert(ledger: Ledger, key: str) -> str:
    with ledger.database.write() as connection:
        connection.execute(meta.insert().values(key=key, value="x"))
    return key


def _keys(ledger: Ledger) -> list[str]:
    with ledger.database.read() as connection:
        return list(connection.execute(text("SELECT key FROM meta ORDER BY key")).scalars())


class _Counted:
    """Commits of a database, counted."""

    def __init__(self, ledger: Ledger) -> None:
        self.number = 0
        event.listen(ledger.database.engine, "commit", self._count)

    def _count(self, _connection: object) -> None:
        self.number += 1


class _Blocked:
    """Keeps the queue's thread busy, so that what comes meanwhile makes one group."""

    def __init__(self, commits: CommitQueue) -> None:
        self._go = threading.Event()
        self._began = threading.Event()
        self._commits = commits

    def _wait(self) -> None:
        self._began.set()
        self._go.wait(20)

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._commits.commit(self._wait))
        await asyncio.to_thread(self._began.wait, 20)

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await self._task


def test_a_result_is_handed_back_once_others_can_see_it(
    ledger: Ledger, commits: CommitQueue, tmp_path: Path
) -> None:
    async def run() -> list[str]:
        assert await commits.commit(lambda: _insert(ledger, "a")) == "a"
        other = open_at(sqlite_url(tmp_path))
        try:
            return _keys(other)
        finally:
            other.close()

    assert asyncio.run(run()) == ["a"]


def test_writes_that_come_together_share_a_commit(ledger: Ledger, commits: CommitQueue) -> None:
    async def run() -> int:
        async with _Blocked(commits):
            writes = [
                asyncio.ensure_future(commits.commit(lambda n=n: _insert(ledger, f"{n:03d}")))
                for n in range(120)
            ]
            await asyncio.sleep(0)  # all are queued now
            counted = _Counted(ledger)
        assert await asyncio.gather(*writes) == [f"{n:03d}" for n in range(120)]
        return counted.number

    # One for what blocked the thread, then 50, 50 and 20.
    assert asyncio.run(run()) == 4
    assert len(_keys(ledger)) == 120


def test_after_a_large_commit_the_next_one_waits_a_moment_for_company(
    ledger: Ledger, tmp_path: Path
) -> None:
    pauses: list[float] = []
    paused, go = threading.Event(), threading.Event()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        paused.set()
        go.wait(20)

    commits = CommitQueue(ledger.database, 50, clock=ManualClock(), pause=pause)

    def write(key: str) -> asyncio.Future[str]:
        return asyncio.ensure_future(commits.commit(lambda: _insert(ledger, key)))

    async def run() -> int:
        await write("alone")
        await write("alone again")
        assert not pauses
        async with _Blocked(commits):
            many = [write(f"many {number}") for number in range(BUSY_FROM)]
            await asyncio.sleep(0)
        await asyncio.gather(*many)
        first = write("first")
        await asyncio.to_thread(paused.wait, 20)
        counted = _Counted(ledger)
        second = write("second")
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, second)
        return counted.number

    try:
        assert asyncio.run(run()) == 1
        assert len(pauses) == 1
        assert 0 < pauses[0] <= APART_S
    finally:
        commits.close()


def test_one_bad_write_does_not_spoil_the_others_of_its_group(
    ledger: Ledger, commits: CommitQueue
) -> None:
    async def run() -> list[object]:
        await commits.commit(lambda: _insert(ledger, "b"))
        async with _Blocked(commits):
            writes = [
                asyncio.ensure_future(commits.commit(lambda key=key: _insert(ledger, key)))
                for key in ("a", "b", "c")
            ]
            await asyncio.sleep(0)
        return await asyncio.gather(*writes, return_exceptions=True)

    one, two, three = asyncio.run(run())
    assert (one, three) == ("a", "c")
    assert isinstance(two, IntegrityError)
    assert _keys(ledger) == ["a", "b", "c"]


def test_a_write_that_fails_halfway_leaves_nothing(ledger: Ledger, commits: CommitQueue) -> None:
    def halfway() -> None:
        _insert(ledger, "half")
        raise ZeroDivisionError

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await commits.commit(halfway)
        await commits.commit(lambda: _insert(ledger, "after"))

    asyncio.run(run())
    assert _keys(ledger) == ["after"]


def test_somebody_who_stopped_waiting_disturbs_nobody(ledger: Ledger, commits: CommitQueue) -> None:
    async def run() -> None:
        async with _Blocked(commits):
            left = asyncio.ensure_future(commits.commit(lambda: _insert(ledger, "a")))
            stays = asyncio.ensure_future(commits.commit(lambda: _insert(ledger, "b")))
            await asyncio.sleep(0)
            left.cancel()
        assert await stays == "b"

    asyncio.run(run())
    assert _keys(ledger) == ["a", "b"]


def test_closing_finishes_what_was_queued(ledger: Ledger) -> None:
    commits = CommitQueue(ledger.database, 3)

    async def run() -> None:
        writes = [
            asyncio.ensure_future(commits.commit(lambda n=n: _insert(ledger, str(n))))
            for n in range(8)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(commits.close)
        await asyncio.gather(*writes)

    asyncio.run(run())
    assert len(_keys(ledger)) == 8


def test_a_loop_that_ended_meanwhile_does_not_stop_the_queue(
    ledger: Ledger, commits: CommitQueue
) -> None:
    go = threading.Event()

    async def leave() -> None:
        task = asyncio.ensure_future(commits.commit(lambda: go.wait(20)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go.set()
    assert asyncio.run(commits.commit(lambda: _insert(ledger, "a"))) == "a"


class _DeadlockError(Exception):
    """What PostgreSQL's driver raises for the transaction that it gave up in favour of another."""

    pgcode = "40P01"


@pytest.mark.parametrize(("losses", "is_written"), [(1, True), (3, True), (4, False)])
def test_a_commit_that_lost_against_another_one_is_tried_again(
    ledger: Ledger, commits: CommitQueue, losses: int, is_written: bool
) -> None:
    left = losses

    def write() -> str:
        nonlocal left
        key = _insert(ledger, "mine")
        if left:
            left -= 1
            raise OperationalError("INSERT", {}, _DeadlockError())
        return key

    if is_written:
        assert asyncio.run(commits.commit(write)) == "mine"
    else:
        with pytest.raises(OperationalError):
            asyncio.run(commits.commit(write))
    assert ("mine" in _keys(ledger)) is is_written


def test_whoever_writes_after_the_end_is_told_so(ledger: Ledger) -> None:
    commits = CommitQueue(ledger.database, 50)
    commits.close()
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(commits.commit(lambda: _insert(ledger, "late")))
