"""An asynchronous stream, iterated over from ordinary code."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from resources.background import iterate_in_thread
from resources.core.errors import LeaseLost


async def _numbers(most: int) -> AsyncIterator[int]:
    for number in range(most):
        await asyncio.sleep(0)
        yield number


def test_items_come_in_order_and_the_end_ends() -> None:
    assert list(iterate_in_thread(lambda: _numbers(100))) == list(range(100))
    assert list(iterate_in_thread(lambda: _numbers(0))) == []


def test_an_item_is_handed_over_as_soon_as_it_is_there() -> None:
    may_go_on = threading.Event()

    async def stream() -> AsyncIterator[str]:
        yield "first"
        assert await asyncio.to_thread(may_go_on.wait, 10)
        yield "second"

    items = iterate_in_thread(stream)
    assert next(items) == "first"
    may_go_on.set()
    assert list(items) == ["second"]


def test_what_the_stream_raises_reaches_the_consumer_after_the_items_before() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError("oops")

    items = iterate_in_thread(stream)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError, match="oops"):
        next(items)


def test_a_stream_that_cannot_be_made_is_an_error_and_no_hang() -> None:
    def make() -> AsyncIterator[int]:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        next(iterate_in_thread(make))


def test_stopping_early_closes_the_stream_in_order() -> None:
    steps: list[str] = []

    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # closing may still wait for something
            steps.append("closed")

    with closing(iterate_in_thread(stream)) as items:
        assert next(items) == 1
        assert steps == []
    assert steps == ["closed"]


def test_stopping_early_ends_a_stream_that_has_much_more_to_say() -> None:
    closed = threading.Event()

    async def stream() -> AsyncIterator[int]:
        try:
            number = 0
            while True:
                number += 1
                await asyncio.sleep(0)
                yield number
        finally:
            closed.set()

    with closing(iterate_in_thread(stream)) as items:
        for item in items:
            if item == 10:
                break
    assert closed.is_set()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    list(iterate_in_thread(lambda: _numbers(3)))
    with closing(iterate_in_thread(lambda: _numbers(3))) as items:
        next(items)
    assert threading.active_count() == before


def test_an_error_of_the_consumer_stops_the_stream_too() -> None:
    closed = threading.Event()

    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    def consume() -> None:
        with closing(iterate_in_thread(stream)) as items:
            for _ in items:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert closed.is_set()


async def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "is_told"), [(LeaseLost("taken over"), False), (ZeroDivisionError("oops"), True)]
)
def test_an_error_that_nobody_waited_for_is_told_unless_the_stream_tells_it(
    error: Exception, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream() -> AsyncIterator[int]:
        left = asyncio.ensure_future(_fail(error))
        await asyncio.wait({left})
        del left
        gc.collect()
        yield 1

    assert list(iterate_in_thread(stream)) == [1]
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert bool(told) is is_told
