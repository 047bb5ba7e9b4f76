"""Waits on purpose: what is told of them while they last."""

from __future__ import annotations

import asyncio

import pytest

from resources.adapters.waits import LEAST_S, Waits
from tests.support.time import NOW, ManualClock, until


class _Held:
    """Sleeps that last until the test lets them end."""

    def __init__(self) -> None:
        self.begun = 0
        self._end = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        self.begun += 1
        await self._end.wait()

    def end(self) -> None:
        self._end.set()


def test_the_end_of_the_last_wait_under_way_is_told() -> None:
    async def run() -> None:
        clock, held = ManualClock(), _Held()
        waits = Waits(clock, held)
        assert waits.until() == 0.0
        first = asyncio.ensure_future(waits.sleep(90))
        await until(lambda: held.begun == 1)
        clock.advance(10)
        second = asyncio.ensure_future(waits.sleep(30))
        await until(lambda: held.begun == 2)
        assert waits.until() == NOW + 90
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert waits.until() == NOW + 40
        held.end()
        await second
        assert waits.until() == 0.0

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_is_over_in_a_moment_is_not_told() -> None:
    async def run() -> None:
        held = _Held()
        waits = Waits(ManualClock(), held)
        sleeping = asyncio.ensure_future(waits.sleep(LEAST_S * 0.9))
        await until(lambda: held.begun == 1)
        assert waits.until() == 0.0
        held.end()
        await sleeping

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_block_that_fails_waits_no_more() -> None:
    waits = Waits(ManualClock(), _Held())

    def fail() -> None:
        with waits.noted(60):
            assert waits.until() == NOW + 60
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert waits.until() == 0.0
