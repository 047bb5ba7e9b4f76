"""Eight processes and one dead provider: one call tries it after each cool-down, not eight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resources.adapters.ledger.breakers import BreakerChange
from resources.adapters.ledger.ledger import Ledger
from resources.core.breaker import BreakerPolicy, Status
from tests.support.calling_process import ENDPOINT, CallingProcess
from tests.support.ledgers import new_database, open_at, postgres_server, sqlite_url
from tests.support.raw_server import RawServer, Request, reply, reset

PROCESSES = 8
TIMEOUT_S = 0.75
POLICY = BreakerPolicy(timeout_s=TIMEOUT_S)
PATIENCE_S = 10.0
# Failed ones; the probe after the last of them finds the provider back.
PROBES = 3


@dataclass
class Provider:
    """A server that is dead, by 503 and by RST in turn, until it is told to recover."""

    is_dead: bool = True
    calls: list[tuple[float, str]] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    async def serve(self, request: Request, writer: asyncio.StreamWriter) -> None:
        caller = request.headers["x-caller"]
        self.calls.append((time.time(), caller))
        # Long enough for all the others to call meanwhile, if they were let out.
        await asyncio.sleep(0.1)
        if not self.is_dead:
            self.answered.add(caller)
            writer.write(reply(b"{}"))
        elif len(self.calls) % 2:
            writer.write(reply(b"{}", "503 Service Unavailable"))
        else:
            await reset(request, writer)
        if not writer.is_closing():
            await writer.drain()


@dataclass(frozen=True)
class Story:
    """What happened.

    Args:
        calls: Time and caller of each call that reached the provider.
        changes: Of the breaker, oldest first.
        others_began_at: When all but the process that opened the breaker were let go.
        seen: What became of each process's calls.
    """

    calls: Sequence[tuple[float, str]]
    changes: Sequence[BreakerChange]
    others_began_at: float
    seen: Sequence[Counter[str]]

    def at(self, new: Status) -> list[float]:
        return [change.at for change in self.changes if change.new is new]

    def calls_between(self, start: float, end: float) -> list[float]:
        return [at for at, _ in self.calls if start <= at < end]


async def _until(condition: Callable[[], bool], said: Callable[[], object]) -> None:
    """Wait until something is so; say what is the case where it does not come to that."""
    give_up_at = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < give_up_at, said()
        await asyncio.sleep(0.02)


async def _play(url: str, ledger: Ledger) -> Story:
    provider = Provider()
    async with RawServer({"*": provider.serve}) as server, AsyncExitStack() as stack:

        async def start(wave: str) -> list[CallingProcess]:
            processes = [
                CallingProcess(url, server.address, f"{wave}{n}", breaker_timeout_s=TIMEOUT_S)
                for n in range(PROCESSES)
            ]
            for process in processes:
                await stack.enter_async_context(process.started())
            await asyncio.gather(*(process.ready() for process in processes))
            return processes

        def changes() -> list[BreakerChange]:
            return ledger.breakers.changes(prefix=ENDPOINT)[::-1]

        def openings() -> int:
            return sum(change.new is Status.OPEN for change in changes())

        first, second = await start("a"), await start("b")
        first[0].begin()
        await _until(lambda: openings() == 1, changes)
        others_began_at = time.time()
        for process in first[1:]:
            process.begin()
        await _until(lambda: openings() == PROBES, changes)
        for process in second:
            process.begin()
        await _until(lambda: openings() > PROBES, changes)
        provider.is_dead = False
        everybody = {process.name for process in (*first, *second)}
        await _until(
            lambda: provider.answered == everybody,
            lambda: (everybody - provider.answered, provider.calls[-20:], changes()),
        )
        seen = await asyncio.gather(*(process.end() for process in (*first, *second)))
        return Story(provider.calls, changes(), others_began_at, seen)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("probe")
        yield sqlite_url(folder)
        return
    with postgres_server() as server, new_database(server, "probe") as found:
        yield found


@pytest.fixture(scope="module")
def story(url: str) -> Iterator[Story]:
    """A provider dies, is tried in vain three times, and comes back."""
    ledger = open_at(url)
    try:
        yield asyncio.run(_play(url, ledger))
    finally:
        ledger.close()


def test_one_call_tries_after_each_cool_down_and_none_before(story: Story) -> None:
    opened, closed = story.at(Status.OPEN), story.at(Status.CLOSED)
    assert len(closed) == 1
    assert len(opened) >= PROBES + 1
    for number, (start, end) in enumerate(zip(opened, [*opened[1:], *closed], strict=True)):
        retry_at = start + POLICY.wait_s(number + 1)
        # The process that opened it may have had calls under way.
        sent = story.calls_between(max(start, story.others_began_at), end)
        assert len(sent) == 1, (number, start, retry_at, sent)
        assert sent[0] >= retry_at
        assert sent[0] < retry_at + PATIENCE_S, "nobody tried though it was time"


def test_each_change_is_kept_with_its_reason(story: Story) -> None:
    kinds = [change.new for change in story.changes]
    failed_probes = len(story.at(Status.OPEN)) - 1
    tried = [Status.HALF_OPEN, Status.OPEN] * failed_probes
    assert kinds == [Status.OPEN, *tried, Status.HALF_OPEN, Status.CLOSED]
    assert all(change.reason for change in story.changes)


def test_after_the_one_probe_that_succeeds_everybody_goes_on(story: Story) -> None:
    assert all(seen["answered"] >= 1 for seen in story.seen)


def test_all_of_them_wanted_to_call_all_the_time(story: Story) -> None:
    """Otherwise there was nothing that the breaker had to keep from the provider."""
    first, second = story.seen[:PROCESSES], story.seen[PROCESSES:]
    assert all(seen["breaker_open"] > 100 for seen in first)
    assert all(seen["breaker_open"] > 5 for seen in second)
