"""Group commits: many small writes from an event loop, one transaction, off the loop's thread.

A synced commit costs the same for one row as for a hundred. The queue takes whatever has come in
while the previous commit ran, so that nobody waits for a timer: alone, a write commits at once;
under load, commits grow up to `checkpoint_interval` writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from resources.adapters.ledger.database import Database

T = TypeVar("T")


@dataclass(slots=True)
class _Write:
    operation: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class CommitQueue:
    """Runs ledger operations on one thread, as few commits as possible.

    Args:
        database: Where the transactions go.
        most: Most operations in one commit.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-commits", daemon=True)
        self._thread.start()

    async def commit(self, operation: Callable[[], T]) -> T:
        """Run a ledger operation and return its result once it is committed.

        Raises: whatever the operation raised; the others of its group are not affected.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(operation, future, loop))
        return await future

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            group = [self._queue.get()]
            while len(group) < self._most and not self._queue.empty():
                group.append(self._queue.get())
            is_open = None not in group
            self._commit_group([write for write in group if write is not None])

    def _commit_group(self, group: list[_Write]) -> None:
        if not group:
            return
        results: list[Any] = []
        try:
            with self._database.write():
                for write in group:
                    results.append(write.operation())
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits for it
            if len(group) == 1:
                _answer(group[0], error=error)
                return
            # One of them spoilt the transaction: give each its own, so that only it fails.
            for write in group:
                self._commit_group([write])
            return
        for write, result in zip(group, results, strict=True):
            _answer(write, result=result)


def _answer(write: _Write, *, result: Any = None, error: BaseException | None = None) -> None:
    def resolve() -> None:
        if write.future.cancelled():
            return
        if error is not None:
            write.future.set_exception(error)
        else:
            write.future.set_result(result)

    # Where the loop has ended meanwhile, what was committed stays committed.
    with contextlib.suppress(RuntimeError):
        write.loop.call_soon_threadsafe(resolve)
