"""The gate: when calls are let out, who tries whether an endpoint is back, and what is no news."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from resources.adapters.call_gate import CallGate
from resources.adapters.calling import call_with_retries
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.permit import Endpoint, Permit, site_endpoint
from resources.core.breaker import RETRIES_ALWAYS_ALLOWED, BreakerPolicy, Status
from resources.core.config import FetchSettings
from resources.core.errors import RULES, CallError, Failure, FailureKind
from resources.core.pacing import PaceLimits
from resources.core.retry import RetryPolicy
from tests.support.gates import gate_on
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import NOW, ManualClock, ManualSleep, until

PDL = Endpoint("pdl", provider="pdl", limits=PaceLimits(rate=1000, burst=1000, concurrency=50))
SITE = site_endpoint("acme.example", 1)
POLICY = BreakerPolicy(threshold=3, timeout_s=300, probe_s=60)
AT_ONCE = BreakerPolicy(threshold=1, timeout_s=300, probe_s=60)
AWAY = Failure(FailureKind.CONNECT, "refused")
Step = Failure | Callable[[], Awaitable[object]] | None


class Other:
    """The other side: fails or answers as the script says, and then always answers."""

    def __init__(self, *script: Step) -> None:
        self._script = list(script)
        self.calls = 0
        self.permits: list[Permit] = []

    async def ask(self, gate: CallGate, endpoint: Endpoint = PDL, patience_s: float = 30) -> str:
        async with gate.call(endpoint, patience_s=patience_s) as permit:
            self.calls += 1
            self.permits.append(permit)
            step = self._script.pop(0) if self._script else None
            if isinstance(step, Failure):
                raise CallError(step)
            if step is not None:
                await step()
            return "answer"

    async def kind(self, gate: CallGate, endpoint: Endpoint = PDL) -> FailureKind | None:
        """How a call ended; None for an answer."""
        failure = await self.failure(gate, endpoint)
        return failure.kind if failure else None

    async def failure(self, gate: CallGate, endpoint: Endpoint = PDL) -> Failure | None:
        try:
            await self.ask(gate, endpoint)
        except CallError as error:
            return error.failure
        return None


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_at(sqlite_url(tmp_path))
    yield ledger
    ledger.close()


@pytest.fixture
def second(ledger: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    """The same ledger, as another process has it."""
    other = open_at(sqlite_url(tmp_path))
    yield other
    other.close()


def _status(ledger: Ledger, endpoint: Endpoint = PDL) -> Status:
    breaker = ledger.breakers.not_closed(POLICY).get(endpoint.key)
    return breaker.status if breaker else Status.CLOSED


def _known(gate: CallGate, endpoint: Endpoint = PDL) -> Status:
    """How the endpoint's breaker stands, as far as this process knows."""
    breaker = gate.breakers.of(endpoint)
    return breaker.status if breaker else Status.CLOSED


def _run(play: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(play, 30))


# -- open ---------------------------------------------------------------------------------------


def test_after_so_many_failures_in_a_row_nothing_is_sent_any_more(ledger: Ledger) -> None:
    async def play() -> None:
        other = Other(*[AWAY] * 9)
        async with gate_on(ledger, policy=POLICY, clock=ManualClock()) as gate:
            kinds = [await other.kind(gate) for _ in range(6)]
            assert kinds == [AWAY.kind] * 3 + [FailureKind.BREAKER_OPEN] * 3
            assert other.calls == 3
            rejected = await other.failure(gate)
            assert rejected is not None
            assert (rejected.retry_after_s, rejected.provider) == (300, "pdl")
            assert "pdl" in rejected.message
            assert "08:05:00 UTC" in rejected.message  # when it is tried again
            assert "refused" in rejected.message  # why it is paused

    _run(play())


def test_an_answer_in_between_begins_the_row_of_failures_anew(ledger: Ledger) -> None:
    async def play() -> None:
        other = Other(AWAY, AWAY, None, AWAY, AWAY, None, AWAY)
        async with gate_on(ledger, policy=POLICY, clock=ManualClock()) as gate:
            for _ in range(7):
                assert await other.kind(gate) in {None, FailureKind.CONNECT}
            assert other.calls == 7

    _run(play())


def test_a_high_share_of_failures_opens_too(ledger: Ledger) -> None:
    policy = BreakerPolicy(threshold=99, failure_rate=0.5, minimum_calls=10)

    async def play() -> None:
        other = Other(*[None, AWAY] * 20)
        async with gate_on(ledger, policy=policy, clock=ManualClock()) as gate:
            kinds = [await other.kind(gate) for _ in range(12)]
            assert other.calls == 10
            assert kinds[10:] == [FailureKind.BREAKER_OPEN] * 2

    _run(play())


def test_one_endpoint_that_is_away_pauses_no_other(ledger: Ledger) -> None:
    async def play() -> None:
        other = Other(AWAY)
        async with gate_on(ledger, policy=AT_ONCE, clock=ManualClock()) as gate:
            await other.kind(gate)
            assert await other.kind(gate, SITE) is None
            assert await other.kind(gate, PDL) is FailureKind.BREAKER_OPEN

    _run(play())


def test_what_one_process_finds_holds_for_all_of_them(ledger: Ledger, second: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        other = Other(AWAY, AWAY, AWAY)
        async with (
            gate_on(ledger, policy=POLICY, clock=clock) as one,
            gate_on(second, policy=POLICY, clock=clock) as two,
        ):
            # Failures in a row are counted together.
            for gate in (one, two, one):
                assert await other.kind(gate) is AWAY.kind
            assert await other.kind(one) is FailureKind.BREAKER_OPEN
            await until(lambda: two.is_paused(PDL))
            assert await other.kind(two) is FailureKind.BREAKER_OPEN
            async with gate_on(second, policy=POLICY, clock=clock) as late:
                assert await other.kind(late) is FailureKind.BREAKER_OPEN
            assert other.calls == 3
            assert "Calls to pdl are paused" in one.drain_notices()[0]
            assert "Calls to pdl are paused" in two.drain_notices()[0]
            assert one.drain_notices() == []

    _run(play())


def test_a_call_that_waited_for_its_turn_while_the_breaker_opened_is_not_sent(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        go = asyncio.Event()

        async def fail() -> None:
            await go.wait()
            raise CallError(AWAY)

        other = Other(fail)
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=ManualClock()) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            first = tasks.create_task(other.kind(gate, SITE))
            await until(lambda: other.calls == 1)
            waiting = [tasks.create_task(other.kind(gate, SITE)) for _ in range(3)]
            await asyncio.sleep(0)
            go.set()
            assert await first is AWAY.kind
            assert await asyncio.gather(*waiting) == [FailureKind.BREAKER_OPEN] * 3
            assert other.calls == 1

    _run(play())


# -- what is no news ----------------------------------------------------------------------------

ANSWERS = [
    FailureKind.NOT_FOUND,
    FailureKind.GONE,
    FailureKind.HTTP_4XX,
    FailureKind.AUTH,
    FailureKind.QUOTA_EXHAUSTED,
    FailureKind.RATE_LIMITED,
    FailureKind.MALFORMED,
    FailureKind.TOO_LARGE,
    FailureKind.TLS_CERTIFICATE,
]
NOTHING = [
    FailureKind.STORE,
    FailureKind.CANCELLED,
    FailureKind.BUDGET_EXHAUSTED,
    FailureKind.BUG,
    FailureKind.ROBOTS,
]


@pytest.mark.parametrize("kind", [*ANSWERS, *NOTHING])
def test_a_failure_that_does_not_say_away_keeps_it_closed(
    ledger: Ledger, kind: FailureKind
) -> None:
    assert not RULES[kind].counts_for_breaker

    async def play() -> None:
        clock = ManualClock()
        other = Other(Failure(kind, "why"))
        async with gate_on(ledger, policy=AT_ONCE, clock=clock, sleep=ManualSleep(clock)) as gate:
            assert await other.kind(gate) is kind
            assert await other.kind(gate) is None
            assert _status(ledger) is Status.CLOSED

    _run(play())


def test_trouble_of_our_own_network_opens_nothing(ledger: Ledger) -> None:
    async def play() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
            address = f"127.0.0.1:{unused.getsockname()[1]}"
            other = Other(AWAY, Failure(FailureKind.TIMEOUT, "no answer"))
            settings = FetchSettings(connect_to=address)
            async with gate_on(
                ledger, policy=AT_ONCE, clock=ManualClock(), settings=settings
            ) as gate:
                for _ in range(2):
                    failure = await other.failure(gate)
                    assert failure is not None
                    assert failure.kind is FailureKind.LOCAL_NETWORK
                    assert address in failure.message
                assert await other.kind(gate) is None
                assert _status(ledger) is Status.CLOSED

    _run(play())


def test_an_unforeseen_exception_comes_out_as_a_bug_and_opens_nothing(ledger: Ledger) -> None:
    async def explode() -> None:
        raise ZeroDivisionError("oops")

    async def play() -> None:
        other = Other(explode)
        async with gate_on(ledger, policy=AT_ONCE, clock=ManualClock()) as gate:
            failure = await other.failure(gate)
            assert failure is not None
            assert (failure.kind, failure.provider) == (FailureKind.BUG, "pdl")
            assert "oops" in (failure.stack or "")
            assert await other.kind(gate) is None

    _run(play())


# -- the probe ----------------------------------------------------------------------------------


async def _opened(gate: CallGate, endpoint: Endpoint = PDL) -> None:
    """Let the endpoint's breaker open."""
    assert await Other(AWAY).kind(gate, endpoint) is AWAY.kind
    assert gate.is_paused(endpoint)


def test_when_the_time_is_over_exactly_one_of_all_calls_tries(
    ledger: Ledger, second: Ledger
) -> None:
    async def play() -> None:
        clock = ManualClock()
        go = asyncio.Event()
        other = Other(go.wait)
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock) as one,
            gate_on(second, policy=AT_ONCE, clock=clock) as two,
            asyncio.TaskGroup() as tasks,
        ):
            await _opened(one)
            await until(lambda: two.is_paused(PDL))
            clock.advance(299.9)
            assert await other.kind(one) is FailureKind.BREAKER_OPEN
            clock.advance(0.1)
            calls = [tasks.create_task(other.ask(gate)) for gate in (one, two) * 10]
            await until(lambda: other.calls == 1)
            assert other.permits[0].is_probe
            # All others wait for what it finds, and then go on.
            await until(lambda: _known(one) is Status.HALF_OPEN is _known(two))
            assert other.calls == 1
            go.set()
            assert await asyncio.gather(*calls) == ["answer"] * 20
            assert [permit.is_probe for permit in other.permits].count(True) == 1
            assert _status(ledger) is Status.CLOSED
            assert "pdl answers again" in one.drain_notices()[-1]

    _run(play())


def test_a_probe_that_fails_opens_for_longer_each_time(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        other = Other(*[AWAY] * 6)
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:
            for wait_s in (300, 600, 1200, 2400, 3600, 3600):
                assert await other.kind(gate) is AWAY.kind
                rejected = await other.failure(gate)
                assert rejected is not None
                assert rejected.retry_after_s == wait_s
                clock.advance(wait_s)
            assert await other.kind(gate) is None
            assert await Other(AWAY).kind(gate) is AWAY.kind
            rejected = await other.failure(gate)
            assert rejected is not None
            assert rejected.retry_after_s == 300  # it was back, so it begins anew

    _run(play())


def test_those_who_wait_for_a_probe_that_fails_are_rejected(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        go = asyncio.Event()

        async def fail() -> None:
            await go.wait()
            raise CallError(AWAY)

        other = Other(fail)
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            await _opened(gate)
            clock.advance(300)
            probe = tasks.create_task(other.kind(gate))
            await until(lambda: other.calls == 1)
            others = [tasks.create_task(other.kind(gate)) for _ in range(3)]
            await asyncio.sleep(0)
            go.set()
            assert await probe is AWAY.kind
            assert await asyncio.gather(*others) == [FailureKind.BREAKER_OPEN] * 3
            assert other.calls == 1

    _run(play())


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_probe_that_is_answered_at_all_closes_it(ledger: Ledger, kind: FailureKind) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:
            await _opened(gate)
            clock.advance(300)
            assert await Other(Failure(kind, "why")).kind(gate) is kind
            assert _status(ledger) is Status.CLOSED

    _run(play())


@pytest.mark.parametrize("kind", [*NOTHING, FailureKind.LIMITER])
def test_a_probe_that_was_not_made_in_the_end_is_free_for_the_next_call(
    ledger: Ledger, kind: FailureKind
) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:
            await _opened(gate)
            clock.advance(300)
            other = Other(Failure(kind, "why"))
            assert await other.kind(gate) is kind
            assert _status(ledger) is Status.OPEN
            assert await other.kind(gate) is None
            assert other.permits[-1].is_probe

    _run(play())


def test_a_probe_whose_permit_was_not_used_is_free_for_the_next_call(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:
            await _opened(gate)
            clock.advance(300)
            async with gate.call(PDL) as permit:
                assert permit.is_probe
                permit.is_unused = True
            assert _status(ledger) is Status.OPEN
            other = Other()
            assert await other.kind(gate) is None
            assert other.permits[0].is_probe

    _run(play())


def test_a_probe_that_is_stopped_by_us_is_given_back(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            await _opened(gate)
            clock.advance(300)
            other = Other(asyncio.Event().wait)
            probe = tasks.create_task(other.ask(gate))
            await until(lambda: other.calls == 1)
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert _status(ledger) is Status.OPEN
            assert await other.kind(gate) is None
            assert other.permits[-1].is_probe

    _run(play())


def test_a_probe_that_is_stopped_while_it_waits_for_its_turn_is_given_back(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        clock = ManualClock()
        waits: list[float] = []

        async def never(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.Event().wait()

        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock, sleep=never) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            # It asks for a wait that ends after the breaker's.
            busy = Failure(FailureKind.HTTP_5XX, "busy", retry_after_s=310)
            assert await Other(busy).kind(gate, SITE) is busy.kind
            clock.advance(300)
            probe = tasks.create_task(Other().ask(gate, SITE))
            await until(lambda: waits == [10])
            assert _status(ledger, SITE) is Status.HALF_OPEN
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            await until(lambda: _status(ledger, SITE) is Status.OPEN)
            clock.advance(10)
            assert await Other().kind(gate, SITE) is None

    _run(play())


def test_a_probe_that_is_stopped_while_it_is_being_taken_is_given_back(
    ledger: Ledger, second: Ledger
) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            await _opened(gate)
            clock.advance(300)
            with second.database.write():  # nobody else can write meanwhile
                probe = tasks.create_task(Other().ask(gate))
                for _ in range(5):
                    await asyncio.sleep(0)
                probe.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await probe
            kinds = [change.new for change in second.breakers.changes()]
            assert kinds == [Status.OPEN, Status.HALF_OPEN, Status.OPEN]
            assert await Other().kind(gate) is None

    _run(play())


def test_a_probe_that_never_ends_is_taken_for_lost_and_its_end_changes_nothing(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        clock = ManualClock()
        go = asyncio.Event()
        both = asyncio.Event()

        async def fail() -> None:
            await go.wait()
            raise CallError(AWAY)

        other = Other(fail, both.wait)
        async with (
            gate_on(ledger, policy=AT_ONCE, clock=clock) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            await _opened(gate)
            clock.advance(300)
            lost = tasks.create_task(other.kind(gate))
            await until(lambda: other.calls == 1)
            clock.advance(AT_ONCE.probe_s)
            later = tasks.create_task(other.kind(gate))
            await until(lambda: other.calls == 2)
            go.set()
            assert await lost is AWAY.kind
            assert _status(ledger) is Status.HALF_OPEN  # the later one decides
            both.set()
            assert await later is None
            assert _status(ledger) is Status.CLOSED

    _run(play())


def test_a_probe_finds_our_own_network_down_and_says_nothing(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:
            await _opened(gate)
        clock.advance(300)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            settings = FetchSettings(connect_to=f"127.0.0.1:{unused.getsockname()[1]}")
            async with gate_on(ledger, policy=AT_ONCE, clock=clock, settings=settings) as gate:
                other = Other(AWAY)
                assert await other.kind(gate) is FailureKind.LOCAL_NETWORK
                assert _status(ledger) is Status.OPEN
                assert await other.kind(gate) is None

    _run(play())


# -- retries ------------------------------------------------------------------------------------


async def _with_retries(gate: CallGate, other: Other, attempts: int) -> Failure:
    async def one_try() -> str:
        return await other.ask(gate, SITE)

    with pytest.raises(CallError) as caught:
        await call_with_retries(
            one_try,
            policy=RetryPolicy(attempts, base_s=0.0),
            random=Random(0),
            may_retry=lambda: gate.breakers.take_retry(SITE),
            sleep=ManualSleep(),
        )
    return caught.value.failure


def test_tries_end_when_the_budget_of_the_endpoint_is_used_up(
    ledger: Ledger, second: Ledger
) -> None:
    async def play() -> None:
        clock = ManualClock()
        other = Other(*[AWAY] * 99)
        policy = BreakerPolicy(threshold=99, minimum_calls=99)
        async with (
            gate_on(ledger, policy=policy, clock=clock) as one,
            gate_on(second, policy=policy, clock=clock) as two,
        ):
            assert await _with_retries(one, other, attempts=3) == AWAY
            assert other.calls == 3
            # What is left of it holds for both processes together.
            assert await _with_retries(two, other, attempts=9) == AWAY
            assert other.calls == 3 + 1 + (RETRIES_ALWAYS_ALLOWED - 2)
            assert await _with_retries(one, other, attempts=9) == AWAY
            assert other.calls == 6
            clock.advance(policy.window_s + 10)
            await _with_retries(one, other, attempts=2)
            assert other.calls == 8

    _run(play())


def test_many_good_calls_allow_more_tries(ledger: Ledger) -> None:
    async def play() -> None:
        policy = BreakerPolicy(threshold=99, minimum_calls=9999)
        async with gate_on(ledger, policy=policy, clock=ManualClock()) as gate:
            other = Other()
            for _ in range(80):
                await other.ask(gate)
            granted = [await gate.breakers.take_retry(PDL) for _ in range(12)]
            assert granted == [True] * 8 + [False] * 4

    _run(play())


def test_a_try_that_is_not_let_out_tells_the_failure_of_the_call_and_the_breakers_wait(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        other = Other(AWAY, AWAY)
        clock = ManualClock()
        # The second try finds the breaker closed when it is granted, and open when it is made.
        async with gate_on(ledger, policy=AT_ONCE, clock=clock) as gate:

            async def one_try() -> str:
                return await other.ask(gate, SITE)

            async def granted() -> bool:
                return True

            with pytest.raises(CallError) as caught:
                await call_with_retries(
                    one_try,
                    policy=RetryPolicy(3, base_s=0.0),
                    random=Random(0),
                    may_retry=granted,
                    sleep=ManualSleep(),
                )
        failure = caught.value.failure
        assert (failure.kind, failure.message) == (AWAY.kind, AWAY.message)
        assert failure.retry_after_s == 300
        assert other.calls == 1

    _run(play())


def test_a_call_that_was_never_let_out_says_so(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, policy=AT_ONCE, clock=ManualClock(NOW)) as gate:
            await _opened(gate, SITE)
            other = Other()
            failure = await _with_retries(gate, other, attempts=3)
            assert failure.kind is FailureKind.BREAKER_OPEN
            assert other.calls == 0

    _run(play())


@pytest.mark.parametrize(
    ("endpoint", "kind"), [(PDL, FailureKind.DNS), (SITE, FailureKind.NO_SUCH_HOST)]
)
def test_a_host_that_does_not_exist_settles_a_site_and_not_what_a_provider_was_asked_about(
    tmp_path: Path, endpoint: Endpoint, kind: FailureKind
) -> None:
    async def no_such_host() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def run() -> FailureKind | None:
        ledger = open_at(sqlite_url(tmp_path))
        async with gate_on(ledger) as gate:
            return await Other(no_such_host).kind(gate, endpoint)

    assert asyncio.run(run()) is kind
