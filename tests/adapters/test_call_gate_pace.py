"""The gate: pace of providers and sites, what it costs, and when a worker may not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.call_gate import CallGate
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import breaker_changes, breakers, pace_shares, paces
from resources.adapters.permit import Endpoint, site_endpoint
from resources.core.breaker import BreakerPolicy
from resources.core.errors import CallError, Failure, FailureKind, LeaseLost
from resources.core.pacing import PaceLimits
from tests.support.gates import gate_on
from tests.support.ledgers import LEASE_S, open_at, sqlite_url
from tests.support.time import NOW, ManualClock, ManualSleep, until

PDL = Endpoint("pdl", provider="pdl", limits=PaceLimits(rate=1000, burst=1000, concurrency=50))
SITE = site_endpoint("acme.example", 4)
NEVER_REFRESHES_S = 3600.0
AWAY = Failure(FailureKind.CONNECT, "refused")


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


def _run(play: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(play, 30))


async def _call(
    gate: CallGate,
    endpoint: Endpoint,
    failure: Failure | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    patience_s: float = 30.0,
    crawl_delay_s: float = 0.0,
) -> Failure | None:
    """One call that ends as the test says. Returns how it failed."""
    try:
        async with gate.call(
            endpoint, patience_s=patience_s, crawl_delay_s=crawl_delay_s
        ) as permit:
            permit.heard(headers or {})
            if failure is not None:
                raise CallError(failure)
    except CallError as error:
        return error.failure
    return None


async def _let_out(gate: CallGate, endpoint: Endpoint) -> bool:
    """Whether a call would be let out now; nothing is sent."""
    try:
        async with gate.call(endpoint, patience_s=0) as permit:
            permit.is_unused = True
    except CallError as error:
        if error.failure.kind is not FailureKind.LIMITER:
            raise
        return False
    return True


async def _until_held(gate: CallGate, endpoint: Endpoint) -> None:
    async with asyncio.timeout(10):
        while await _let_out(gate, endpoint):
            await asyncio.sleep(0.01)


# -- what the other side asks for ---------------------------------------------------------------


def _asked(kind: FailureKind, wait_s: float | None) -> Failure:
    return Failure(kind, "slow down", retry_after_s=wait_s)


@pytest.mark.parametrize("endpoint", [PDL, SITE])
@pytest.mark.parametrize(
    ("kind", "asked_s", "held_s"),
    [
        (FailureKind.RATE_LIMITED, 20.0, 20.0),
        (FailureKind.RATE_LIMITED, None, 1.0),
        (FailureKind.HTTP_5XX, 20.0, 20.0),
    ],
)
def test_a_wait_that_is_asked_for_holds_all_calls_of_all_processes(
    ledger: Ledger,
    second: Ledger,
    endpoint: Endpoint,
    kind: FailureKind,
    asked_s: float | None,
    held_s: float,
) -> None:
    async def play() -> None:
        clock = ManualClock()
        sleep = ManualSleep(clock)
        async with (
            gate_on(ledger, clock=clock, sleep=sleep) as one,
            gate_on(second, clock=clock, sleep=sleep) as two,
        ):
            assert await _call(two, endpoint) is None
            await _call(one, endpoint, _asked(kind, asked_s))
            assert not await _let_out(one, endpoint)  # at once
            await _until_held(two, endpoint)  # with its next refresh
            rejected = await _call(two, endpoint, patience_s=held_s / 2)
            assert rejected is not None
            assert rejected.kind is FailureKind.LIMITER
            assert rejected.retry_after_s == pytest.approx(held_s)
            assert endpoint.name in rejected.message
            async with gate_on(second, clock=clock, sleep=sleep) as late:
                assert not await _let_out(late, endpoint)
            clock.advance(held_s - 0.01)
            for gate in (one, two):
                assert not await _let_out(gate, endpoint)
            # Whoever has the patience goes on when the time has come, and not before.
            assert await _call(two, endpoint) is None
            assert clock.now() >= NOW + held_s
            assert await _call(one, endpoint) is None

    _run(play())


def test_a_failure_without_a_wished_wait_holds_nobody(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock()) as gate:
            await _call(gate, SITE, AWAY)
            assert await _let_out(gate, SITE)

    _run(play())


@pytest.mark.parametrize("endpoint", [PDL, SITE])
@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 12)},
        {"RateLimit": "limit=100, remaining=0, reset=12"},
    ],
)
def test_limit_headers_that_leave_nothing_hold_until_the_reset(
    ledger: Ledger, second: Ledger, endpoint: Endpoint, headers: Mapping[str, str]
) -> None:
    async def play() -> None:
        clock = ManualClock()
        sleep = ManualSleep(clock)
        async with (
            gate_on(ledger, clock=clock, sleep=sleep) as one,
            gate_on(second, clock=clock, sleep=sleep) as two,
        ):
            assert await _call(one, endpoint, headers=headers) is None
            assert not await _let_out(one, endpoint)
            await _until_held(two, endpoint)
            assert await _call(two, endpoint) is None
            assert clock.now() == pytest.approx(NOW + 12)

    _run(play())


def test_limit_headers_that_leave_something_hold_nobody(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock()) as gate:
            headers = {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "12"}
            assert await _call(gate, PDL, headers=headers) is None
            assert await _let_out(gate, PDL)

    _run(play())


def test_no_wait_is_longer_than_a_day(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, clock=clock) as gate:
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999"}
            await _call(gate, PDL, headers=headers)
            rejected = await _call(gate, PDL)
            assert rejected is not None
            assert rejected.retry_after_s == 86_400
            clock.advance(86_400)
            assert await _call(gate, PDL) is None

    _run(play())


# -- sites --------------------------------------------------------------------------------------


def test_the_delay_of_robots_txt_lies_between_the_begins_of_calls(
    ledger: Ledger, second: Ledger
) -> None:
    async def play() -> None:
        clock = ManualClock()
        sleep = ManualSleep(clock)
        begins: list[float] = []

        async def visit(gate: CallGate) -> None:
            async with gate.call(SITE, patience_s=100, crawl_delay_s=10):
                begins.append(clock.now())

        async with (
            gate_on(ledger, clock=clock, sleep=sleep) as one,
            gate_on(second, clock=clock, sleep=sleep) as two,
        ):
            await asyncio.gather(*(visit(one) for _ in range(3)))
            assert begins == pytest.approx([NOW, NOW + 10, NOW + 20])
            # A second process begins no earlier either.
            await _until_held(two, SITE)
            await visit(two)
            async with gate_on(second, clock=clock, sleep=sleep) as late:
                await visit(late)
            assert begins[3:] == pytest.approx([NOW + 30, NOW + 40])

    _run(play())


def test_only_so_many_calls_are_under_way_to_a_host_at_a_time(ledger: Ledger) -> None:
    async def play() -> None:
        go = asyncio.Event()
        in_flight = most = 0

        async def visit(endpoint: Endpoint) -> None:
            nonlocal in_flight, most
            async with gate.call(endpoint):
                in_flight += 1
                most = max(most, in_flight)
                await go.wait()
                in_flight -= 1

        async with gate_on(ledger, clock=ManualClock()) as gate, asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(visit(SITE)) for _ in range(10)]
            await until(lambda: in_flight == 4)
            # Another host has connections of its own.
            calls.append(tasks.create_task(visit(site_endpoint("other.example", 4))))
            await until(lambda: in_flight == 5)
            go.set()
            await asyncio.gather(*calls)
            assert most == 5

    _run(play())


def test_hosts_that_share_an_address_share_its_connections(ledger: Ledger) -> None:
    async def play() -> None:
        go = asyncio.Event()
        in_flight: list[str] = []

        async def visit(name: str, address: str | None) -> None:
            async with gate.call(site_endpoint(name, 2, address)):
                in_flight.append(name)
                await go.wait()
                in_flight.remove(name)

        async with gate_on(ledger, clock=ManualClock()) as gate, asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(visit(f"{number}.example", "192.0.2.1"))
            await until(lambda: len(in_flight) == 2)
            for _ in range(3):
                tasks.create_task(visit("elsewhere.example", "192.0.2.2"))
            tasks.create_task(visit("nobody-knows.example", None))
            await until(lambda: len(in_flight) == 5)
            assert sorted(in_flight)[2:] == ["elsewhere.example"] * 2 + ["nobody-knows.example"]
            go.set()

    _run(play())


def test_a_call_that_waits_too_long_for_a_shared_address_is_held_back(ledger: Ledger) -> None:
    one, two = (site_endpoint(f"{name}.example", 1, "192.0.2.1") for name in ("one", "two"))

    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock()) as gate:
            async with gate.call(one):
                with pytest.raises(CallError) as caught:
                    async with gate.call(two, patience_s=0.05):
                        pass
                assert caught.value.failure.kind is FailureKind.LIMITER
            for endpoint in (two, one, two):  # nothing was left taken
                async with gate.call(endpoint, patience_s=0.05):
                    pass

    _run(play())


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.HTTP_5XX])
def test_a_site_that_complains_is_asked_less_often(ledger: Ledger, kind: FailureKind) -> None:
    async def play() -> None:
        clock = ManualClock()
        begins: list[float] = []

        async def visit(error: Exception | None) -> None:
            async with gate.call(SITE):
                begins.append(clock.now())
                if error is not None:
                    raise error

        async with gate_on(ledger, clock=clock, sleep=ManualSleep(clock)) as gate:
            with pytest.raises(CallError):
                await visit(CallError(Failure(kind, "too much")))
            for _ in range(4):
                await visit(None)
        waits = [after - before for before, after in pairwise(begins)]
        assert waits[1] == pytest.approx(1.0)  # the pace of a site that has just complained
        assert waits[2] == pytest.approx(0.8)  # and that answers well since
        assert waits[3] == pytest.approx(0.64)

    _run(play())


def test_a_host_that_becomes_slow_is_asked_slower(ledger: Ledger) -> None:
    async def play() -> None:
        clock = ManualClock()
        begins: list[float] = []
        go = asyncio.Event()

        async def visit() -> None:
            async with gate.call(SITE):
                begins.append(clock.now())
                await go.wait()

        async with (
            gate_on(ledger, clock=clock, sleep=ManualSleep(clock)) as gate,
            asyncio.TaskGroup() as tasks,
        ):
            async with gate.call(SITE):
                clock.advance(8)
            calls = [tasks.create_task(visit()) for _ in range(4)]
            await until(lambda: len(begins) == 4)
            # Its latency, spread over its four connections.
            assert begins == pytest.approx([NOW + 8, NOW + 10, NOW + 12, NOW + 14])
            go.set()
            await asyncio.gather(*calls)

    _run(play())


def test_a_call_that_is_stopped_gives_its_connection_back(ledger: Ledger, second: Ledger) -> None:
    one_at_a_time = site_endpoint("acme.example", 1)

    async def stopped(call: Callable[[], Awaitable[object]]) -> None:
        task = asyncio.ensure_future(call())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def play() -> None:
        clock = ManualClock()
        async with gate_on(ledger, clock=clock, sleep=ManualSleep(clock)) as gate:

            async def in_the_middle() -> None:
                async with gate.call(one_at_a_time):
                    await asyncio.Event().wait()

            await stopped(in_the_middle)
            assert await _let_out(gate, one_at_a_time)
            with second.database.write():  # our own write hangs
                await stopped(lambda: _call(gate, one_at_a_time, crawl_delay_s=1))
                await stopped(
                    lambda: _call(gate, one_at_a_time, _asked(FailureKind.RATE_LIMITED, 3))
                )
            assert await _call(gate, one_at_a_time) is None

    _run(play())


# -- what it costs ------------------------------------------------------------------------------


class _Statements:
    """What a ledger's engine executes, observed from outside."""

    def __init__(self, ledger: Ledger) -> None:
        self.seen: list[str] = []
        event.listen(ledger.database.engine, "before_cursor_execute", self._note)

    def _note(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        self.seen.append(statement)

    def about(self, table: str) -> list[str]:
        return [one for one in self.seen if table in one]


def test_healthy_calls_to_sites_touch_the_ledger_in_the_background_alone(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, refresh_s=NEVER_REFRESHES_S) as gate:
            seen = _Statements(ledger)
            for number in range(300):
                await _call(gate, site_endpoint(f"site-{number % 30}.example", 4))
            assert seen.seen == []
        # And of a site that never failed nothing is kept.
        assert _rows(ledger) == [[], [], [], []]

    _run(play())


def test_healthy_calls_to_providers_ask_the_ledger_for_their_pace_alone(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, refresh_s=NEVER_REFRESHES_S) as gate:
            seen = _Statements(ledger)
            await asyncio.gather(*(_call(gate, PDL) for _ in range(50)))
            assert seen.about("breakers") == []
            # As many as wait draw together: the lock is not asked once for each call.
            assert 1 <= len(seen.about("UPDATE paces")) <= 5

    _run(play())


def test_successes_are_told_in_the_background_many_at_a_time(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, refresh_s=0.02) as gate:
            seen = _Statements(ledger)
            await asyncio.gather(*(_call(gate, PDL) for _ in range(50)))
            await until(lambda: _calls_counted(ledger) == 50)
            assert 1 <= len(seen.about("UPDATE breakers")) <= 10

    _run(play())


def test_the_last_successes_are_told_at_the_end_and_the_slots_given_back(ledger: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, refresh_s=NEVER_REFRESHES_S) as gate:
            for _ in range(3):
                await _call(gate, PDL)
            with ledger.database.read() as connection:
                assert connection.execute(select(pace_shares.c.slots)).scalars().all() == [1]
        assert _calls_counted(ledger) == 3
        with ledger.database.read() as connection:
            assert connection.execute(select(pace_shares.c.slots)).scalars().all() == []

    _run(play())


def _calls_counted(ledger: Ledger) -> int:
    with ledger.database.read() as connection:
        windows = connection.execute(select(breakers.c.window)).scalars().all()
    return sum(int(slot.split(":")[1]) for window in windows for slot in window.split())


# -- when it may not go on ----------------------------------------------------------------------


def _rows(ledger: Ledger) -> list[list[tuple[object, ...]]]:
    with ledger.database.read() as connection:
        return [
            sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in (breakers, breaker_changes, paces, pace_shares)
        ]


async def _call_until_it_fails(gate: CallGate) -> None:
    """Make calls that would never notice by themselves: a site's, which are all answered."""
    async with asyncio.timeout(10):
        while True:
            await _call(gate, SITE)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("endpoint", "failure"),
    [
        (PDL, None),
        (PDL, AWAY),
        (SITE, AWAY),
        (SITE, _asked(FailureKind.RATE_LIMITED, 5)),
    ],
)
def test_a_worker_that_was_declared_dead_writes_nothing_more_and_is_told_so(
    ledger: Ledger, second: Ledger, endpoint: Endpoint, failure: Failure | None
) -> None:
    async def play() -> None:
        clock = ManualClock()
        sleep = ManualSleep(clock)
        policy = BreakerPolicy(threshold=99)
        async with gate_on(
            ledger, policy=policy, clock=clock, sleep=sleep, refresh_s=NEVER_REFRESHES_S
        ) as gate:
            for end in (None, AWAY, _asked(FailureKind.RATE_LIMITED, 1)):
                await _call(gate, endpoint, end)
            second.workers.bury_dead(NOW + LEASE_S + 1)
            before = _rows(second)
            with pytest.raises(LeaseLost):
                await _call(gate, endpoint, failure)
        assert _rows(second) == before

    _run(play())


def test_the_refresh_of_a_dead_worker_ends_its_calls_too(ledger: Ledger, second: Ledger) -> None:
    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock(), refresh_s=0.01) as gate:
            assert await _call(gate, SITE) is None
            second.workers.bury_dead(NOW + LEASE_S + 1)
            with pytest.raises(LeaseLost):
                await _call_until_it_fails(gate)

    _run(play())


def test_a_dead_worker_that_ends_without_another_call_writes_nothing_either(
    ledger: Ledger, second: Ledger
) -> None:
    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock(), refresh_s=NEVER_REFRESHES_S) as gate:
            await _call(gate, PDL)  # a success that is not told yet
            second.workers.bury_dead(NOW + LEASE_S + 1)
            before = _rows(second)
        assert _rows(second) == before

    _run(play())


def test_a_ledger_that_is_gone_is_told_at_the_next_call_and_not_swallowed(
    ledger: Ledger,
) -> None:
    async def play() -> None:
        async with gate_on(ledger, clock=ManualClock(), refresh_s=0.01) as gate:
            assert await _call(gate, SITE) is None
            with ledger.database.write() as connection:
                connection.execute(text("ALTER TABLE paces RENAME TO away"))
            with pytest.raises(SQLAlchemyError, match="paces"):
                await _call_until_it_fails(gate)

    _run(play())
