"""Group commits: many small writes from an event loop, one transaction, off the loop's thread.

A synced commit costs the same for one row as for a hundred. The queue takes whatever has come in
while the previous commit ran: alone, a write commits at once; under load, commits grow up to
`checkpoint_interval` writes, and begin some way apart, because many small ones would take the
processor from the calls. Writes of one kind are handed to the ledger together, because a statement
for a hundred rows costs little more than one for a single row.

A worker's queue is fenced: each commit first makes sure, in its own transaction, that nobody has
declared the worker dead. A process that stood still and goes on writes nothing, whatever it was in
the middle of. With what belongs to its work it notes that it has made progress: nothing else tells
a worker that is busy from one that is stuck.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from resources.adapters.clock import SystemClock
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.workers import note_progress, require_unburied
from resources.core.ports import Clock

Item = TypeVar("Item")
T = TypeVar("T")
# How often a commit that lost against another one is tried again.
DEADLOCK_TRIES = 3
# A worker's progress is noted no more often: it costs a statement.
PROGRESS_EVERY_S = 1.0
# After a commit of so many writes the next one begins no sooner than this after it.
BUSY_FROM = 8
APART_S = 0.01
# Writes many items at once. An exception in the place of a result is that item's own: it was not
# written, and the others were.
Many = Callable[[Sequence[Item]], Sequence[T | Exception]]


@dataclass(slots=True)
class _Write:
    """One item for `many`, and who waits for its result."""

    many: Many[Any, Any]
    item: Any
    is_progress: bool
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


def _run(operations: Sequence[Callable[[], Any]]) -> Sequence[Any]:
    return [operation() for operation in operations]


class CommitQueue:
    """Runs ledger operations on one thread, as few commits as possible.

    Args:
        database: Where the transactions go.
        most: Most operations in one commit.
        worker_id: Whose writes these are: once it was declared dead nothing is written any
            more. None for no fence.
        clock: Tells when the worker made progress, and how far apart commits are; the system's
            unless given.
        pause: Waits between two commits; takes seconds.
    """

    def __init__(
        self,
        database: Database,
        most: int,
        worker_id: str | None = None,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._most = most
        self._worker_id = worker_id
        self._clock = clock or SystemClock()
        self._progress_at: float | None = None
        self._is_closed = False
        self._pause = pause
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-commits", daemon=True)
        self._thread.start()

    async def commit(self, operation: Callable[[], T], *, is_progress: bool = False) -> T:
        """Run a ledger operation and return its result once it is committed.

        Args:
            is_progress: Whether it writes something of the work: a state, a call, a page.

        Raises:
            LeaseLost: the queue's worker was declared dead; the operation was not run.
            Exception: what the operation raised; the others of its group are not affected.
        """
        result: T = await self.commit_one_of(_run, operation, is_progress=is_progress)
        return result

    async def commit_one_of(
        self, many: Many[Item, T], item: Item, *, is_progress: bool = False
    ) -> T:
        """Write an item together with others for the same `many`; its result once committed.

        Args:
            is_progress: As for `commit`.

        Raises: as `commit`, and the exception that `many` gives back for the item.
        """
        if self._is_closed:
            raise RuntimeError("the commit queue is closed: nothing is written any more")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(many, item, is_progress, future, loop))
        return await future

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        next_at = 0.0
        while is_open:
            group = [self._queue.get()]
            left_s = next_at - self._clock.now()
            # A clock may be set back.
            if 0.0 < left_s <= APART_S and self._queue.qsize() + 1 < self._most:
                self._pause(left_s)
            began_at = self._clock.now()
            while len(group) < self._most and not self._queue.empty():
                group.append(self._queue.get())
            is_open = None not in group
            next_at = began_at + APART_S if len(group) >= BUSY_FROM else 0.0
            self._commit_group([write for write in group if write is not None])

    def _commit_group(self, group: list[_Write], tries_left: int = DEADLOCK_TRIES) -> None:
        if not group:
            return
        is_begun = False
        try:
            with self._database.write() as connection:
                if self._worker_id is not None:
                    require_unburied(connection, self._worker_id)
                is_begun = True
                results = _write_all(group)
                progress_at = self._note_progress(connection, group, results)
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits for it
            if _is_lost_race(error) and tries_left:
                self._commit_group(group, tries_left - 1)
                return
            if len(group) == 1 or not is_begun:
                _answer(group, [error] * len(group))
                return
            # One of them spoilt the transaction: give each its own, so that only it fails.
            for write in group:
                self._commit_group([write])
            return
        self._progress_at = progress_at
        _answer(group, results)

    def _note_progress(
        self, connection: Connection, group: Sequence[_Write], results: Sequence[Any]
    ) -> float | None:
        """Note the worker's progress if this is some. Returns when it was noted last."""
        if self._worker_id is None or not _is_progress(group, results):
            return self._progress_at
        now, before = self._clock.now(), self._progress_at
        # A clock may be set back.
        if before is not None and 0.0 <= now - before < PROGRESS_EVERY_S:
            return before
        note_progress(connection, self._worker_id, now)
        return now


def _is_progress(group: Sequence[_Write], results: Sequence[Any]) -> bool:
    return any(
        write.is_progress and not isinstance(result, BaseException)
        for write, result in zip(group, results, strict=True)
    )


def _is_lost_race(error: BaseException) -> bool:
    """Whether PostgreSQL undid the transaction in favour of another one: the same may be tried
    again at once, and nothing of it was written."""
    state = getattr(getattr(error, "orig", None), "pgcode", None)
    return state in {"40P01", "40001"}


def _write_all(group: Sequence[_Write]) -> list[Any]:
    """Write a group, kind by kind. Returns the results in the group's order."""
    places: dict[Many[Any, Any], list[int]] = {}
    for place, write in enumerate(group):
        places.setdefault(write.many, []).append(place)
    results: list[Any] = [None] * len(group)
    for many, own in places.items():
        written = many([group[place].item for place in own])
        for place, result in zip(own, written, strict=True):
            results[place] = result
    return results


def _answer(group: Sequence[_Write], results: Sequence[Any]) -> None:
    """Tell everybody the result, all those of a loop in one go."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for write, result in zip(group, results, strict=True):
        by_loop.setdefault(write.loop, []).append((write.future, result))
    for loop, answers in by_loop.items():
        # Where the loop has ended meanwhile, what was committed stays committed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.cancelled():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
