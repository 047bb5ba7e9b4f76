"""Runs an asynchronous stream on an event loop of its own thread, and hands its items over.

Dagster's bodies are synchronous and log as they go, while hundreds of fetches go on. When the
consumer stops early (Ctrl-C, a cancelled run), the stream is closed in order: its `finally` runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from resources.core.errors import LeaseLost

T = TypeVar("T")
_POLL_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def iterate_in_thread(make: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """Iterate over an asynchronous stream from synchronous code.

    Args:
        make: Builds the stream; called on the new loop.

    Raises: whatever the stream raises.
    """
    items: queue.SimpleQueue[_Item[T] | _End] = queue.SimpleQueue()
    started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = (
        queue.SimpleQueue()
    )

    async def pump() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().set_exception_handler(_unheard)
        started.put((asyncio.get_running_loop(), task))
        stream = make()
        try:
            async for item in stream:
                items.put(_Item(item))
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    def run() -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(pump())
        except BaseException as raised:  # noqa: BLE001  # handed over to the consumer
            error = raised
        items.put(_End(error))

    thread = threading.Thread(target=run, name="phase-stream", daemon=True)
    thread.start()
    loop, task = started.get()
    try:
        while True:
            item = _next(items)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item.value
    finally:
        if thread.is_alive():
            # It may have ended by itself just now.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Hear of an exception that nobody waited for.

    When the ledger takes nothing more, everything under way fails for that one reason. The stream
    raises it; whoever had stopped waiting would print its stack trace once more.
    """
    error = context.get("exception")
    if isinstance(error, LeaseLost | SQLAlchemyError):
        _log.debug("nobody waited for this any more: %s", error)
        return
    loop.default_exception_handler(context)


def _next(items: queue.SimpleQueue[_Item[T] | _End]) -> _Item[T] | _End:
    """Wait in short steps, so that a signal reaches the main thread in time."""
    while True:
        try:
            return items.get(timeout=_POLL_S)
        except queue.Empty:
            continue


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  # is not there on Windows

    return uvloop.new_event_loop
