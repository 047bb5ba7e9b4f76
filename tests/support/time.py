"""Time that tests move by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


class ManualClock:
    """Stands still until somebody moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class ManualSleep:
    """Waits nobody sits out: remembers what was asked for and goes on at once."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.waits: list[float] = []
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self._clock is not None:
            self._clock.advance(seconds)
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something is so; ends with an error after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
