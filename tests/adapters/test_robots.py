"""robots.txt: asked once, kept, obeyed; RFC 9309 for what cannot be had."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from resources.adapters.connector import guarded_session
from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.robots import CHARS_IN_MEMORY, Robots
from resources.core.config import FetchSettings
from resources.core.errors import CallError, FailureKind
from tests.support.gates import gate_on
from tests.support.ledgers import open_at, sqlite_url
from tests.support.raw_server import RawServer, Step, redirect, reply, reset
from tests.support.time import ManualClock, ManualSleep

DISALLOW = b"User-agent: *\nDisallow: /private\nSitemap: https://a.example/map.xml\n"
SITE = "http://a.example"


class _Site:
    """A host with its robots.txt, and what we make of it."""

    def __init__(self, folder: Path, script: Mapping[str, Step | Sequence[Step]]) -> None:
        self._folder = folder
        self._script = script
        self._stack = AsyncExitStack()
        self.clock = ManualClock()

    async def __aenter__(self) -> _Site:
        self.server = await self._stack.enter_async_context(RawServer(self._script))
        self.ledger = open_at(sqlite_url(self._folder))
        self._stack.callback(self.ledger.close)
        self.commits = CommitQueue(self.ledger.database, 10)
        self._stack.callback(self.commits.close)
        settings = FetchSettings(
            connect_to=self.server.address,
            allow_networks=("127.0.0.0/8",),
            attempts=1,
            max_body_bytes=1000,
        )
        session = await self._stack.enter_async_context(guarded_session(settings, "x"))
        sleep = ManualSleep(self.clock)
        gate = await self._stack.enter_async_context(
            gate_on(self.ledger, clock=self.clock, sleep=sleep)
        )
        self.fetcher = Fetcher(session, gate, settings, self.clock, Random(0), sleep)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def robots(self) -> Robots:
        """Ours, as a new process would have it."""
        return Robots(self.fetcher, self.ledger, self.commits, self.clock, ttl_s=100)


def _allowed(folder: Path, step: Step, *paths: str) -> list[bool]:
    async def run() -> list[bool]:
        async with _Site(folder, {"/robots.txt": step}) as site:
            rules = await site.robots().rules(f"{SITE}/")
            return [rules.may_fetch(SITE + path) for path in paths]

    return asyncio.run(run())


def test_what_is_forbidden_is_told_from_what_is_not(tmp_path: Path) -> None:
    found = _allowed(tmp_path, reply(DISALLOW), "/", "/private", "/private/x", "/public")
    assert found == [True, False, False, True]


def test_a_rule_for_us_goes_before_the_rule_for_all(tmp_path: Path) -> None:
    text = b"User-agent: *\nDisallow: /\n\nUser-agent: pipeline\nDisallow: /x\n"
    assert _allowed(tmp_path, reply(text), "/", "/x") == [True, False]


def test_a_byte_order_mark_does_not_hide_the_first_rule(tmp_path: Path) -> None:
    assert _allowed(tmp_path, reply(b"\xef\xbb\xbf" + DISALLOW), "/private") == [False]


@pytest.mark.parametrize(
    "step",
    [
        reply(DISALLOW, "404 Not Found"),
        reply(DISALLOW, "403 Forbidden"),
        reply(DISALLOW, "410 Gone"),
        reply(b""),
        reply(b"<html><body>Disallow: /</body></html>"),
        reply(b"\x00\xff\xfe" * 100),
        redirect("/robots.txt"),
    ],
)
def test_what_is_not_there_or_says_nothing_allows_everything(tmp_path: Path, step: Step) -> None:
    assert _allowed(tmp_path, step, "/private") == [True]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (reply(b"", "500 Oops"), FailureKind.HTTP_5XX),
        (reply(b"", "503 Down"), FailureKind.HTTP_5XX),
        (reset, FailureKind.CONNECT),
        (b"no HTTP at all\r\n\r\n", FailureKind.MALFORMED),
        (reply(b"not packed", content_encoding="gzip"), FailureKind.MALFORMED),
        (reply(gzip.compress(DISALLOW)[:-9], content_encoding="gzip"), FailureKind.MALFORMED),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", FailureKind.MALFORMED),
        (redirect("http:\\\\inner.example"), FailureKind.MALFORMED),
        (reply(b"", "429 Slow", retry_after="60"), FailureKind.RATE_LIMITED),
    ],
)
def test_what_cannot_be_had_forbids_everything_for_now_and_is_not_kept(
    tmp_path: Path, step: Step, kind: FailureKind
) -> None:
    async def run() -> None:
        async with _Site(tmp_path, {"/robots.txt": [step, reply(DISALLOW)]}) as site:
            robots = site.robots()
            with pytest.raises(CallError) as caught:
                await robots.rules(f"{SITE}/")
            assert caught.value.failure.kind is kind
            site.clock.advance(caught.value.failure.retry_after_s or 0.0)
            assert (await robots.rules(f"{SITE}/")).may_fetch(f"{SITE}/")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        (DISALLOW, 0.0),
        (b"User-agent: *\nCrawl-delay: 2.5\n", 2.5),
        (b"User-agent: *\nCrawl-delay: 9\n\nUser-agent: pipeline\nCrawl-delay: 1\n", 1.0),
        (b"User-agent: other\nCrawl-delay: 9\n", 0.0),
        (b"User-agent: *\nCrawl-delay: soon\n", 0.0),
        (b"User-agent: *\nCrawl-delay: -3\n", 0.0),
        (b"User-agent: *\nCrawl-delay: nan\n", 0.0),
        (b"User-agent: *\nCrawl-delay: 1e300\n", 86_400.0),
    ],
)
def test_the_delay_that_is_asked_for_is_read(tmp_path: Path, text: bytes, delay_s: float) -> None:
    async def run() -> float:
        async with _Site(tmp_path, {"/robots.txt": reply(text)}) as site:
            return (await site.robots().rules(f"{SITE}/")).crawl_delay_s

    assert asyncio.run(run()) == delay_s


def test_a_huge_file_is_read_up_to_half_a_megabyte_also_where_pages_are_smaller(
    tmp_path: Path,
) -> None:
    filler = b"# nothing\n" * 49_000  # 490,000 bytes
    text = b"User-agent: *\n" + filler + b"Disallow: /seen\n" + filler + b"Disallow: /unseen\n"
    started = time.perf_counter()
    assert _allowed(tmp_path, reply(text), "/seen", "/unseen") == [False, True]
    assert time.perf_counter() - started < 10


def test_whoever_comes_while_the_file_is_fetched_waits_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with _Site(tmp_path, {"/robots.txt": reply(DISALLOW)}) as site:
            robots = site.robots()
            found = await asyncio.gather(*(robots.rules(f"{SITE}/{n}") for n in range(20)))
            assert not any(rules.may_fetch(f"{SITE}/private") for rules in found)
            assert site.server.paths == {"/robots.txt": 1}

    asyncio.run(run())


def test_a_process_that_runs_for_days_asks_again_each_day(tmp_path: Path) -> None:
    async def run() -> None:
        script = {"/robots.txt": [reply(b""), reply(DISALLOW)]}
        async with _Site(tmp_path, script) as site:
            robots = site.robots()
            assert (await robots.rules(f"{SITE}/")).may_fetch(f"{SITE}/private")
            site.clock.advance(101)
            assert not (await robots.rules(f"{SITE}/")).may_fetch(f"{SITE}/private")

    asyncio.run(run())


def test_files_of_many_hosts_take_only_so_much_memory(tmp_path: Path) -> None:
    async def run() -> int:
        huge = reply(b"User-agent: *\n" + b"Disallow: /a\n" * 30_000)
        async with _Site(tmp_path, {"/robots.txt": huge}) as site:
            robots = site.robots()
            for number in range(8):
                await robots.rules(f"http://{number}.example/")
            return robots.size_chars

    assert 0 < asyncio.run(run()) <= CHARS_IN_MEMORY


def test_five_redirects_in_a_row_lead_to_the_file(tmp_path: Path) -> None:
    async def run() -> list[bool]:
        script: dict[str, Step] = {f"/{n}": redirect(f"/{n + 1}") for n in range(1, 5)}
        script |= {"/robots.txt": redirect("/1"), "/5": reply(DISALLOW)}
        async with _Site(tmp_path, script) as site:
            rules = await site.robots().rules(f"{SITE}/")
            return [rules.may_fetch(SITE + path) for path in ("/", "/private")]

    assert asyncio.run(run()) == [True, False]


def test_of_a_huge_packed_file_the_beginning_is_read(tmp_path: Path) -> None:
    filler = b"".join(
        b"# %032x\n" % (n * 0x9E3779B97F4A7C15F39CC0605CEDC835) for n in range(60_000)
    )
    packed = gzip.compress(DISALLOW + filler)
    assert len(packed) > 512_000, "not even its packed form is taken whole"
    step = reply(packed, content_encoding="gzip")
    assert _allowed(tmp_path, step, "/private", "/public") == [False, True]


def test_a_host_is_asked_once_a_day_by_all_processes(tmp_path: Path) -> None:
    async def run() -> None:
        async with _Site(tmp_path, {"/robots.txt": reply(DISALLOW)}) as site:
            robots = site.robots()
            for path in ("/", "/a", "/b"):
                await robots.rules(SITE + path)
            await site.robots().rules(f"{SITE}/")
            assert site.server.paths == {"/robots.txt": 1}
            await site.robots().rules("https://A.example/")  # another scheme is another host
            await site.robots().rules("https://user:secret@a.example/")
            assert site.server.paths == {"/robots.txt": 2}
            site.clock.advance(101)
            await site.robots().rules(f"{SITE}/")
            assert site.server.paths == {"/robots.txt": 3}

    asyncio.run(run())
