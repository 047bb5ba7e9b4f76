"""Waiting for one's turn, in virtual time: order, slots and tokens of several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.paces import BLOCK_S, SHARE_LEASE_S
from resources.adapters.pacers import ProviderPacer, SitePacer
from resources.adapters.permit import Endpoint, site_endpoint
from resources.core.errors import CallError, FailureKind
from resources.core.pacing import Grant, PaceLimits
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import NOW
from tests.support.virtual_time import LoopClock, run_at_once

PATIENCE_S = 1_000.0
KEY = "pdl"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_at(sqlite_url(tmp_path))
    yield ledger
    ledger.close()


class Commits:
    """Does what a process asks of the ledger in order, and takes its time, as the real queue."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._order = asyncio.Lock()

    async def commit(self, operation: Callable[[], Grant]) -> Grant:
        async with self._order:
            await asyncio.sleep(self._random.uniform(0, 0.03))
            result = operation()
        # The result is known in the database before it is known here.
        await asyncio.sleep(0.01)
        return result


@dataclass
class Provider:
    """One provider, as all processes meet it: who is in flight, and when calls began."""

    limits: PaceLimits
    key: str = KEY
    in_flight: int = 0
    most_in_flight: int = 0
    begins: list[float] = field(default_factory=list)
    order: list[object] = field(default_factory=list)


class Process:
    """One process with its pacer; it looks at the ledger as often as a gate does."""

    def __init__(self, ledger: Ledger, name: str, other: Provider, seed: int = 0) -> None:
        self._other = other
        commits = Commits(Random(f"{name} {seed}"))
        self.clock = LoopClock()
        self.draws = 0

        async def draw(in_flight: int, waiting: int, likely: int) -> Grant:
            self.draws += 1
            return await commits.commit(
                lambda: ledger.paces.draw(
                    other.key,
                    name,
                    other.limits,
                    in_flight=in_flight,
                    waiting=waiting,
                    likely=likely,
                    now=self.clock.now(),
                )
            )

        endpoint = Endpoint(other.key, provider=other.key, limits=other.limits)
        self.pacer = ProviderPacer(endpoint, other.limits, draw, self.clock, asyncio.sleep)
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Process:
        self._looking = asyncio.ensure_future(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Give nothing back and look no more."""
        assert self._looking is not None
        self._looking.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            await self.pacer.give_back()

    async def call(
        self,
        name: object = None,
        *,
        after_s: float = 0.0,
        lasts_s: float = 0.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        await asyncio.sleep(after_s)
        # As the gate does it.
        if not self.pacer.enter_at_once():
            await self.pacer.enter(self.clock.now() + patience_s)
        other = self._other
        other.in_flight += 1
        other.most_in_flight = max(other.most_in_flight, other.in_flight)
        other.begins.append(self.clock.now() - NOW)
        other.order.append(name)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            other.in_flight -= 1
            self.pacer.leave()


def _play(play: Coroutine[Any, Any, None]) -> None:
    run_at_once(asyncio.wait_for(play, 2_000))


# -- one process --------------------------------------------------------------------------------


def test_whoever_came_first_goes_first(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=100, burst=100, concurrency=2))
        async with Process(ledger, "a", other) as process:
            calls = [
                asyncio.ensure_future(process.call(number, after_s=number / 1000, lasts_s=1))
                for number in range(12)
            ]
            await asyncio.sleep(0.5)
            calls[5].cancel()  # one in the middle gives up
            await asyncio.wait(calls)
            assert other.order == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]

    _play(play())


def test_one_process_alone_has_all_slots_and_all_tokens(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=10, burst=5, concurrency=3))
        async with Process(ledger, "a", other) as process:
            await asyncio.gather(*(process.call(lasts_s=0.1) for _ in range(45)))
            assert other.most_in_flight == 3
            # The burst and then ten a second: 40 of them take four seconds.
            assert 3.9 <= other.begins[-1] <= 5.5

    _play(play())


def test_a_turn_that_does_not_come_in_time_is_told_at_once_with_its_wait(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=0.1, burst=1, concurrency=5))
        async with Process(ledger, "a", other) as process:
            await process.call()
            with pytest.raises(CallError) as caught:
                await process.call(patience_s=5)
            failure = caught.value.failure
            assert failure.kind is FailureKind.LIMITER
            assert failure.provider == KEY
            assert failure.retry_after_s == pytest.approx(10, abs=0.2)
            assert "pdl may not be asked for another 10 s" in failure.message
            assert process.clock.now() < NOW + 1
            await process.call(patience_s=11)
            assert len(other.begins) == 2

    _play(play())


def test_one_that_gives_up_takes_nothing_from_the_others(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=100, burst=100, concurrency=1))
        async with Process(ledger, "a", other) as process:
            first = asyncio.ensure_future(process.call("first", lasts_s=2))
            await asyncio.sleep(0.5)
            for wait_s in (0.0, 0.01, 0.3):
                waiting = asyncio.ensure_future(process.call("given up"))
                await asyncio.sleep(wait_s)
                waiting.cancel()
            await first
            await process.call("last", patience_s=1)
            assert other.order == ["first", "last"]

    _play(play())


def test_what_another_process_heard_is_heeded_before_the_next_call(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=1000, burst=1000, concurrency=100))
        async with Process(ledger, "a", other) as process:
            await asyncio.gather(*(process.call() for _ in range(20)))
            ledger.paces.slow_down(KEY, other.limits, 30.0, "slow down", process.clock.now())
            told_at = process.clock.now() - NOW
            await asyncio.sleep(BLOCK_S)
            await process.call()
            assert other.begins[-1] >= told_at + 30

    _play(play())


class Ledgered:
    """A ledger that grants four slots and five tokens, and takes as long as the test says."""

    def __init__(self, clock: LoopClock) -> None:
        self.asked: list[tuple[int, int]] = []
        self.go = asyncio.Event()
        self.go.set()
        limits = PaceLimits(rate=100, burst=100, concurrency=4)
        endpoint = Endpoint(KEY, provider=KEY, limits=limits)
        self.pacer = ProviderPacer(endpoint, limits, self._draw, clock, asyncio.sleep)

    async def _draw(self, in_flight: int, waiting: int, likely: int) -> Grant:
        self.asked.append((in_flight, waiting))
        await self.go.wait()
        tokens, slots = (5, 4) if waiting else (0, in_flight)
        return Grant(tokens, slots, wait_s=0.0, not_before=0.0, reason="")


async def _moment() -> None:
    await asyncio.sleep(0.01)


def test_nothing_begins_in_a_slot_that_is_being_given_back() -> None:
    async def play() -> None:
        clock = LoopClock()
        ledger = Ledgered(clock)
        pacer, until = ledger.pacer, clock.now() + PATIENCE_S
        await pacer.enter(until)
        pacer.leave()
        ledger.go.clear()
        giving = asyncio.ensure_future(pacer.give_back())
        await _moment()
        entering = asyncio.ensure_future(pacer.enter(until))
        await _moment()
        assert not entering.done()  # though tokens of the last draw are left
        ledger.go.set()
        await asyncio.gather(giving, entering)
        assert ledger.asked == [(0, 1), (0, 0), (0, 1)]

    _play(play())


def test_a_slot_that_is_being_taken_is_not_given_back() -> None:
    async def play() -> None:
        clock = LoopClock()
        ledger = Ledgered(clock)
        pacer, until = ledger.pacer, clock.now() + PATIENCE_S
        await pacer.enter(until)
        await asyncio.sleep(1)  # what is left of its tokens is too old
        ledger.go.clear()
        entering = asyncio.ensure_future(pacer.enter(until))
        await _moment()
        giving = asyncio.ensure_future(pacer.give_back())
        await _moment()
        ledger.go.set()
        await asyncio.gather(entering, giving)
        assert ledger.asked == [(0, 1), (1, 1), (2, 0)]

    _play(play())


def test_tokens_are_used_for_a_moment_only() -> None:
    async def play() -> None:
        clock = LoopClock()
        ledger = Ledgered(clock)
        until = clock.now() + PATIENCE_S
        for wait_s in (0.0, 0.1, 0.1, BLOCK_S):
            await asyncio.sleep(wait_s)
            await ledger.pacer.enter(until)
        assert len(ledger.asked) == 2

    _play(play())


def test_while_all_slots_are_in_use_no_token_is_lost_and_the_ledger_is_left_alone(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=1, burst=4, concurrency=2))
        async with Process(ledger, "a", other) as process:
            calls = [process.call(lasts_s=20) for _ in range(2)]
            calls += [process.call(after_s=1) for _ in range(4)]
            await asyncio.gather(*calls)
            # The bucket is full again by then, and all four begin at once.
            assert other.begins[2:] == pytest.approx([20] * 4, abs=0.6)
            assert process.draws < 20

    _play(play())


# -- several processes --------------------------------------------------------------------------


def _share_of_window(begins: list[float], limits: PaceLimits) -> float:
    """The most calls in any stretch of time, as a share of what the bucket allows in it."""
    times = sorted(begins)
    worst = 0.0
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            # What begins in a stretch was drawn in it or a block before.
            allowed = limits.burst + limits.rate * (times[last] - start + BLOCK_S + 0.05)
            worst = max(worst, (last - first + 1) / allowed)
    return worst


Planned = tuple[int, float, float]
numbers = count()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rate=st.floats(0.5, 200),
    burst=st.integers(1, 20),
    concurrency=st.integers(1, 6),
    processes=st.integers(2, 3),
    plan=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 8), st.floats(0, 6)), min_size=5, max_size=40
    ),
    seed=st.integers(0, 1000),
)
def test_no_limit_is_ever_exceeded_and_everybody_gets_their_turn(
    ledger: Ledger,
    rate: float,
    burst: int,
    concurrency: int,
    processes: int,
    plan: list[Planned],
    seed: int,
) -> None:
    async def play() -> None:
        limits = PaceLimits(rate, burst, concurrency)
        other = Provider(limits, f"provider-{next(numbers)}")  # of which nothing is known yet
        async with AsyncExitStack() as stack:
            all_of_them = [
                await stack.enter_async_context(Process(ledger, f"p{n}", other, seed))
                for n in range(processes)
            ]
            calls = [
                all_of_them[who % processes].call(after_s=after_s, lasts_s=lasts_s)
                for who, after_s, lasts_s in plan
            ]
            await asyncio.gather(*calls)
        assert other.most_in_flight <= concurrency
        assert len(other.begins) == len(plan)
        assert _share_of_window(other.begins, limits) <= 1.0

    _play(play())


def test_slots_go_to_whoever_can_use_them(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=1000, burst=1000, concurrency=4))
        async with Process(ledger, "a", other) as one, Process(ledger, "b", other) as two:
            of_one = [asyncio.ensure_future(one.call("a", lasts_s=5)) for _ in range(40)]
            await asyncio.sleep(1)
            assert other.order == ["a"] * 4  # alone, it has them all
            of_two = [asyncio.ensure_future(two.call("b", lasts_s=5)) for _ in range(40)]
            await asyncio.sleep(30)
            since = other.order[4:]
            assert len(since) >= 16
            assert abs(since.count("a") - since.count("b")) <= 6  # a fair part each
            for call in of_one:
                call.cancel()
            await asyncio.sleep(6)
            before = len(other.order)
            await asyncio.sleep(20)
            assert other.order[before:].count("b") >= 12  # and all of them again
            for call in of_two:
                call.cancel()
            await asyncio.wait([*of_one, *of_two])

    _play(play())


def test_the_slots_of_a_process_that_died_are_free_after_a_while(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=1000, burst=1000, concurrency=2))
        async with Process(ledger, "dies", other) as dies, Process(ledger, "lives", other) as lives:
            calls = [asyncio.ensure_future(dies.call(lasts_s=PATIENCE_S)) for _ in range(2)]
            await asyncio.sleep(1)
            dies.die()
            other.in_flight = 0
            began_at = lives.clock.now()
            await lives.call()
            assert 5 <= lives.clock.now() - began_at <= SHARE_LEASE_S + 1
            for call in calls:
                call.cancel()

    _play(play())


def test_a_call_that_takes_long_keeps_its_slot(ledger: Ledger) -> None:
    async def play() -> None:
        other = Provider(PaceLimits(rate=1000, burst=1000, concurrency=1))
        async with Process(ledger, "a", other) as one, Process(ledger, "b", other) as two:
            long = asyncio.ensure_future(one.call("long", lasts_s=10 * SHARE_LEASE_S))
            await asyncio.sleep(1)
            await two.call("after it")
            assert long.done()
            assert other.most_in_flight == 1

    _play(play())


# -- sites --------------------------------------------------------------------------------------


class Site:
    """A site's pacer, and when calls began."""

    def __init__(self, connections: int) -> None:
        self.clock = LoopClock()
        self.pacer = SitePacer(site_endpoint("a.example", connections), self.clock, asyncio.sleep)
        self.begins: list[float] = []
        self.order: list[object] = []

    async def call(
        self,
        name: object = None,
        *,
        lasts_s: float = 0.0,
        delay_s: float = 0.0,
        patience_s: float = PATIENCE_S,
        is_good: bool = True,
    ) -> None:
        await self.pacer.enter(self.clock.now() + patience_s, delay_s)
        self.begins.append(self.clock.now() - NOW)
        self.order.append(name)
        await asyncio.sleep(lasts_s)
        self.pacer.leave(lasts_s, is_good=is_good)


def test_calls_to_a_host_go_in_the_order_in_which_they_came() -> None:
    async def play() -> None:
        site = Site(connections=2)
        calls = [asyncio.ensure_future(site.call(number, lasts_s=1)) for number in range(8)]
        await asyncio.sleep(0.5)
        calls[4].cancel()
        await asyncio.wait(calls)
        assert site.order == [0, 1, 2, 3, 5, 6, 7]

    _play(play())


def test_a_hosts_own_delay_lies_between_begins() -> None:
    async def play() -> None:
        site = Site(connections=4)
        await asyncio.gather(*(site.call(delay_s=2, lasts_s=0.5) for _ in range(4)))
        assert site.begins == pytest.approx([0, 2, 4, 6])

    _play(play())


def test_the_delay_follows_the_latency_and_a_quick_error_does_not_shorten_it() -> None:
    async def play() -> None:
        site = Site(connections=2)
        for lasts_s, is_good in ((4.0, True), (4.0, True), (0.1, False), (0.1, False)):
            await site.call(lasts_s=lasts_s, is_good=is_good)
        # 4 s over two connections.
        assert site.begins == pytest.approx([0, 4, 8, 10])
        for _ in range(6):
            await site.call(lasts_s=0.1)
        assert site.begins[-1] - site.begins[-2] < 0.5  # quick answers do

    _play(play())


def test_a_host_that_must_wait_longer_than_patience_is_told_and_nothing_is_lost() -> None:
    async def play() -> None:
        site = Site(connections=1)
        site.pacer.not_before = NOW + 60
        for _ in range(3):
            with pytest.raises(CallError) as caught:
                await site.call(patience_s=30)
            assert caught.value.failure.kind is FailureKind.LIMITER
            assert caught.value.failure.retry_after_s == 60
        assert not site.pacer.is_idle
        await site.call(patience_s=60)
        assert site.begins == [60]
        await asyncio.sleep(0.01)
        assert site.pacer.is_idle

    _play(play())
