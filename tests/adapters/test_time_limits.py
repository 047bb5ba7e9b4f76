"""Which time limit ended a call: each of them is hit for real, of pages and of providers."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from resources.adapters.classify import classify
from resources.adapters.clock import SystemClock
from resources.adapters.connector import guarded_client, guarded_session
from resources.adapters.fetcher import Fetcher
from resources.adapters.time_limits import which_limit
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from tests.support.gates import gate_on, permitted
from tests.support.ledgers import open_at, sqlite_url
from tests.support.raw_server import Play, RawServer, Step, hang, reply, reset, then
from tests.support.requirements import missing

URL = "http://acme.example/"
LONG_S = 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n"

CONNECT = "the limit of 0.2 s to set up a connection was reached (connect_timeout)"
READ = "the limit of 0.2 s between two pieces of data was reached (read_timeout)"
TOTAL = "the limit of 0.2 s for one whole call was reached (total_timeout)"

Call = Callable[[FetchSettings, aiohttp.ClientSession], Awaitable[object]]


async def _page(_settings: FetchSettings, session: aiohttp.ClientSession) -> object:
    async with session.get(URL, allow_redirects=False, auto_decompress=False) as answer:
        return [chunk async for chunk in answer.content.iter_chunked(65_536)]


async def _provider(settings: FetchSettings, session: aiohttp.ClientSession) -> object:
    return await guarded_client(settings, session).get(URL)


CLIENTS = pytest.mark.parametrize("call", [_page, _provider])


async def _error(call: Call, address: str, **limits: float) -> tuple[Exception, FetchSettings]:
    values: dict[str, Any] = {"connect_timeout": LONG_S, "read_timeout": LONG_S}
    values |= {"total_timeout": LONG_S, "allow_networks": ("127.0.0.0/8",)}
    settings = FetchSettings(connect_to=address, **{**values, **limits})
    async with guarded_session(settings, "test/1") as session:
        with permitted():
            try:
                await call(settings, session)
            except Exception as error:  # noqa: BLE001
                return error, settings
    raise AssertionError("the call succeeded")


def _told(call: Call, step: Step, **limits: float) -> tuple[str | None, FailureKind]:
    async def run() -> tuple[str | None, FailureKind]:
        async with RawServer({"*": step}) as server:
            error, settings = await _error(call, server.address, **limits)
        return which_limit(error, settings), classify(error).kind

    return asyncio.run(asyncio.wait_for(run(), LONG_S))


@contextmanager
def _deaf_address() -> Iterator[str]:
    """An address that takes no further connection and refuses none: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        host, port = listening.getsockname()
        waiting = []
        try:
            for _ in range(50):
                one = socket.socket()
                waiting.append(one)
                one.settimeout(0.1)
                try:
                    one.connect((host, port))
                except TimeoutError:
                    break
            else:
                missing("this system answers connections beyond a full queue")
            yield f"{host}:{port}"
        finally:
            for one in waiting:
                one.close()


def drip(every_s: float) -> Play:
    """One byte after another, without an end."""

    async def dripping(_request: object, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(every_s)

    return then(HEAD, dripping)


@CLIENTS
def test_a_connection_that_is_not_taken_ran_into_the_connect_limit(call: Call) -> None:
    async def run() -> tuple[str | None, FailureKind]:
        error, settings = await _error(call, address, connect_timeout=0.2)
        return which_limit(error, settings), classify(error).kind

    with _deaf_address() as address:
        told = asyncio.run(asyncio.wait_for(run(), LONG_S))
    assert told == (CONNECT, FailureKind.TIMEOUT)


def test_a_server_that_never_answers_the_greeting_of_tls_ran_into_it_too() -> None:
    async def run() -> str | None:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
        limits = aiohttp.ClientTimeout(total=LONG_S, sock_connect=0.2, sock_read=LONG_S)
        async with (
            RawServer({"*": hang}) as server,
            aiohttp.ClientSession(connector=connector, timeout=limits) as session,
        ):
            with pytest.raises(aiohttp.ClientError) as caught:
                await session.get(f"https://{server.address}/")
        return which_limit(caught.value, FetchSettings(connect_timeout=0.2))

    assert asyncio.run(asyncio.wait_for(run(), LONG_S)) == CONNECT


@CLIENTS
@pytest.mark.parametrize("step", [hang, then(HEAD + b"<html>", hang)], ids=["head", "body"])
def test_silence_ran_into_the_read_limit_whether_it_begins_before_or_in_the_answer(
    call: Call, step: Step
) -> None:
    assert _told(call, step, read_timeout=0.2) == (READ, FailureKind.TIMEOUT)


@CLIENTS
@pytest.mark.parametrize("step", [hang, drip(0.02)], ids=["silent", "dripping"])
def test_an_answer_that_takes_for_ever_ran_into_the_total_limit(call: Call, step: Step) -> None:
    assert _told(call, step, total_timeout=0.2) == (TOTAL, FailureKind.TIMEOUT)


def test_a_connection_that_is_not_taken_in_the_total_time_ran_into_that() -> None:
    async def run() -> str | None:
        return which_limit(*await _error(_page, address, total_timeout=0.2))

    with _deaf_address() as address:
        assert asyncio.run(asyncio.wait_for(run(), LONG_S)) == TOTAL


@CLIENTS
@pytest.mark.parametrize(
    "step", [reset, then(HEAD + b"<html>", reset), reply(b"short", length=500)]
)
def test_a_connection_that_was_cut_ran_into_no_limit(call: Call, step: Step) -> None:
    assert _told(call, step) == (None, FailureKind.CONNECT)


@CLIENTS
def test_a_connection_that_is_refused_ran_into_no_limit(call: Call) -> None:
    async def run() -> str | None:
        return which_limit(*await _error(call, address))

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert asyncio.run(asyncio.wait_for(run(), LONG_S)) is None


def test_what_the_system_gave_up_by_itself_is_no_limit_of_ours() -> None:
    given_up = OSError(errno.ETIMEDOUT, "Connection timed out")
    assert isinstance(given_up, TimeoutError)
    assert which_limit(given_up, FetchSettings()) is None
    wrapped = aiohttp.ClientConnectionError("timed out")
    wrapped.__cause__ = given_up
    assert which_limit(wrapped, FetchSettings()) is None


# -- a page's whole way: fetcher, gate, connector -----------------------------------------------


class _Loopback(AbstractResolver):
    """Every name leads here; so the sockets are real, and no failure is our own network's."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        flags = socket.AI_NUMERICHOST
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=flags
            )
        ]

    async def close(self) -> None:
        pass


async def _failed_page(folder: Path, port: int, **limits: float) -> Failure:
    values: dict[str, Any] = {"connect_timeout": LONG_S, "read_timeout": LONG_S, "attempts": 1}
    values |= {"total_timeout": LONG_S, "allow_networks": ("127.0.0.0/8",), "ports": (port,)}
    settings = FetchSettings(control_names=(), **{**values, **limits})
    ledger = open_at(sqlite_url(folder))
    try:
        async with (
            guarded_session(settings, "test/1", _Loopback()) as session,
            gate_on(ledger, settings=settings) as gate,
        ):
            fetcher = Fetcher(session, gate, settings, SystemClock(), Random(7))
            with pytest.raises(CallError) as caught:
                await fetcher.fetch(f"http://acme.example:{port}/")
        return caught.value.failure
    finally:
        ledger.close()


def test_a_page_whose_site_takes_no_connection_names_the_connect_limit(tmp_path: Path) -> None:
    with _deaf_address() as address:
        port = int(address.rpartition(":")[2])
        failure = asyncio.run(_failed_page(tmp_path, port, connect_timeout=0.2))
    assert failure.kind is FailureKind.TIMEOUT
    assert CONNECT in failure.message


@pytest.mark.parametrize(
    ("step", "limit", "sentence"),
    [(hang, "read_timeout", READ), (drip(0.02), "total_timeout", TOTAL)],
)
def test_a_page_that_does_not_come_in_time_names_the_limit_that_it_met(
    tmp_path: Path, step: Step, limit: str, sentence: str
) -> None:
    async def run() -> Failure:
        async with RawServer({"*": step}) as server:
            return await _failed_page(tmp_path, server.port, **{limit: 0.2})

    failure = asyncio.run(run())
    assert failure.kind is FailureKind.TIMEOUT
    assert sentence in failure.message
