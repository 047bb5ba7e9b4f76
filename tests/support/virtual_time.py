"""An event loop whose time is not sat out: it jumps to the next timer when all else has been done.

For what works with `asyncio.timeout` and sleeps of minutes: exact to the second, and over at once.
Nothing of the outside world (sockets, threads) may be waited for in it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.support.time import NOW

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Does not wait, but tells how long it was to wait."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("everything waits, and nothing will ever end it")
        if not found and timeout:
            self._jump(timeout)
        return found


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._virtual_s

    def _jump(self, seconds: float) -> None:
        self._virtual_s += seconds


class LoopClock:
    """Seconds since the epoch in the running loop's time."""

    def now(self) -> float:
        return NOW + asyncio.get_running_loop().time()


def run_at_once(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)
