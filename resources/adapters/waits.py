"""Waits on purpose: whoever looks whether a worker is stuck must know of them.

A worker that waits because a provider asked it to, or for its turn, makes no progress and is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from resources.core.ports import Clock, Sleep

# Shorter ones are over before anybody looks.
LEAST_S = 1.0


class Waits:
    """The waits that are under way in one event loop.

    Args:
        sleep: What is really waited with.
    """

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._ends: dict[int, float] = {}
        self._numbers = count()

    async def sleep(self, seconds: float) -> None:
        """Sleep, and let it be known."""
        with self.noted(seconds):
            await self._sleep(seconds)

    @contextmanager
    def noted(self, seconds: float) -> Iterator[None]:
        """Let it be known that a block may wait for so long."""
        if seconds < LEAST_S:
            yield
            return
        number = next(self._numbers)
        self._ends[number] = self._clock.now() + seconds
        try:
            yield
        finally:
            del self._ends[number]

    def until(self) -> float:
        """When the last of them is to be over, epoch seconds; 0.0 while there is none."""
        return max(self._ends.values(), default=0.0)
