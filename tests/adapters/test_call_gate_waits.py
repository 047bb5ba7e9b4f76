"""The gate: what it tells of calls that wait on purpose, so that nobody takes them for stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from pathlib import Path
from random import Random

import pytest

from resources.adapters.call_gate import CallGate
from resources.adapters.calling import call_with_retries
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.permit import Endpoint, site_endpoint
from resources.core.breaker import BreakerPolicy, Status
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.pacing import PaceLimits
from resources.core.retry import RetryPolicy
from tests.support.gates import gate_on
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import NOW, ManualClock, until

PDL = Endpoint("pdl", provider="pdl", limits=PaceLimits(rate=1000, burst=1000, concurrency=50))
SITE = site_endpoint("acme.example", 4)
AT_ONCE = BreakerPolicy(threshold=1, timeout_s=300, minimum_calls=1_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_at(sqlite_url(tmp_path))
    yield ledger
    ledger.close()


class _Held:
    """Waits that last until the test says so; then the clock has gone on by as much."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._end = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        await self._end.wait()
        self._clock.advance(seconds)

    def end(self) -> None:
        self._end.set()


def _run(play: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(play, 30))


async def _call(gate: CallGate, endpoint: Endpoint, failure: Failure | None = None) -> None:
    async with gate.call(endpoint):
        if failure is not None:
            raise CallError(failure)


async def _fail(gate: CallGate, endpoint: Endpoint, failure: Failure) -> None:
    with pytest.raises(CallError):
        await _call(gate, endpoint, failure)


@pytest.mark.parametrize("endpoint", [PDL, SITE], ids=["provider", "site"])
def test_a_call_that_waits_as_it_was_asked_to_tells_until_when(
    ledger: Ledger, endpoint: Endpoint
) -> None:
    async def play() -> None:
        clock = ManualClock()
        held = _Held(clock)
        async with gate_on(ledger, clock=clock, sleep=held) as gate:
            busy = Failure(FailureKind.RATE_LIMITED, "slow down", retry_after_s=20.0)
            await _fail(gate, endpoint, busy)
            # Nobody waits for it yet: a worker that has nothing to ask does not wait.
            assert gate.waits_until() == 0.0
            calls = [asyncio.ensure_future(_call(gate, endpoint)) for _ in range(3)]
            await until(lambda: gate.waits_until() > 0.0)
            assert gate.waits_until() == pytest.approx(NOW + 20)
            held.end()
            await asyncio.gather(*calls)
            assert gate.waits_until() == 0.0

    _run(play())


def test_a_call_that_waits_for_somebodys_probe_tells_how_long_its_patience_is(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        clock = ManualClock()
        answered = asyncio.Event()
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:

            async def probe() -> None:
                async with gate.call(PDL):
                    await answered.wait()

            await _fail(gate, PDL, Failure(FailureKind.CONNECT, "refused"))
            clock.advance(300)
            probing = asyncio.ensure_future(probe())
            await until(lambda: _status(gate) is Status.HALF_OPEN)
            assert gate.waits_until() == 0.0
            waiting = asyncio.ensure_future(_call(gate, PDL))
            await until(lambda: gate.waits_until() > 0.0)
            assert gate.waits_until() == pytest.approx(NOW + 330)
            answered.set()
            await asyncio.gather(probing, waiting)
            assert gate.waits_until() == 0.0

    _run(play())


def _status(gate: CallGate) -> Status:
    breaker = gate.breakers.of(PDL)
    return breaker.status if breaker else Status.CLOSED


def test_a_call_that_waits_for_its_next_try_tells_until_when(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        held = _Held(clock)
        answers = [Failure(FailureKind.TIMEOUT, "slow", retry_after_s=6.0), None]

        async def ask() -> None:
            failure = answers.pop(0)
            if failure is not None:
                raise CallError(failure)

        async def yes() -> bool:
            return True

        async with gate_on(ledger, clock=clock, sleep=held) as gate:
            calling = asyncio.ensure_future(
                call_with_retries(
                    ask, policy=RetryPolicy(), random=Random(0), may_retry=yes, sleep=gate.sleep
                )
            )
            await until(lambda: gate.waits_until() > 0.0)
            assert gate.waits_until() == NOW + 6
            held.end()
            await calling
            assert (gate.waits_until(), answers) == (0.0, [])

    _run(play())


def test_a_call_that_is_given_up_waits_no_more(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, clock=clock, sleep=_Held(clock)) as gate:
            busy = Failure(FailureKind.RATE_LIMITED, "slow down", retry_after_s=20.0)
            await _fail(gate, SITE, busy)
            waiting = asyncio.ensure_future(_call(gate, SITE))
            await until(lambda: gate.waits_until() > 0.0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert gate.waits_until() == 0.0

    _run(play())
