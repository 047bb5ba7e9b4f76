"""Our own outage is told from the other side's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from resources.adapters.classify import classify
from resources.adapters.connector import guarded_session
from resources.adapters.network import DOWN_KEPT_S, UP_KEPT_S, NetworkCheck
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from tests.support.gates import permitted
from tests.support.raw_server import RawServer, reset
from tests.support.time import ManualClock, until

SUSPICIOUS = [
    FailureKind.NO_SUCH_HOST,
    FailureKind.DNS,
    FailureKind.CONNECT,
    FailureKind.TIMEOUT,
]


def _failure(kind: FailureKind, **settings: Any) -> Failure:
    async def run() -> Failure:
        check = NetworkCheck(FetchSettings(**settings), ManualClock())
        error = await check.explain(CallError(Failure(kind, "why", "https://a.example/", "pdl")))
        assert (error.failure.url, error.failure.provider) == ("https://a.example/", "pdl")
        return error.failure

    return asyncio.run(run())


def _explained(kind: FailureKind, **settings: Any) -> FailureKind:
    return _failure(kind, **settings).kind


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_where_no_name_resolves_at_all_the_fault_is_ours(kind: FailureKind) -> None:
    names = ("one.invalid", "two.invalid")
    assert _explained(kind, control_names=names) is FailureKind.LOCAL_NETWORK


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_where_any_name_resolves_the_fault_is_theirs(kind: FailureKind) -> None:
    assert _explained(kind, control_names=("one.invalid", "localhost")) is kind


@pytest.mark.parametrize("kind", [FailureKind.HTTP_5XX, FailureKind.ROBOTS, FailureKind.TLS])
def test_who_has_answered_was_reached(kind: FailureKind) -> None:
    assert _explained(kind, control_names=("one.invalid",)) is kind


def test_without_names_nothing_is_checked() -> None:
    assert _explained(FailureKind.NO_SUCH_HOST, control_names=()) is FailureKind.NO_SUCH_HOST


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("kind", [FailureKind.CONNECT, FailureKind.TIMEOUT])
def test_where_the_one_address_takes_no_connection_the_fault_is_ours(
    kind: FailureKind, host: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        address = f"{host}:{unused.getsockname()[1]}"
        failure = _failure(kind, connect_to=address)
    assert failure.kind is FailureKind.LOCAL_NETWORK
    assert address in failure.message
    assert "PIPELINE_FETCH__CONNECT_TO" in failure.message


@pytest.mark.parametrize("kind", [FailureKind.CONNECT, FailureKind.TIMEOUT])
def test_where_the_one_address_takes_connections_the_fault_is_theirs(kind: FailureKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert _explained(kind, connect_to=f"127.0.0.1:{server.getsockname()[1]}") is kind


@pytest.mark.parametrize("kind", [FailureKind.NO_SUCH_HOST, FailureKind.DNS, FailureKind.HTTP_5XX])
def test_with_one_address_for_everything_only_connections_to_it_are_checked(
    kind: FailureKind,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert _explained(kind, control_names=("one.invalid",), connect_to=address) is kind


def test_a_server_that_resets_every_request_is_there_all_the_same() -> None:
    async def run() -> FailureKind:
        async with RawServer({"*": reset}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=("127.0.0.0/8",))
            async with guarded_session(settings, "x") as session:
                with permitted(), pytest.raises(aiohttp.ClientError) as caught:
                    await session.get("http://a.example/")
            error = CallError(classify(caught.value))
            return (await NetworkCheck(settings, ManualClock()).explain(error)).failure.kind

    assert asyncio.run(run()) is FailureKind.CONNECT


def test_one_connection_tells_about_the_one_address_for_a_while() -> None:
    async def run() -> None:
        async with RawServer({}) as server:
            clock = ManualClock()
            check = NetworkCheck(FetchSettings(connect_to=server.address), clock)
            error = CallError(Failure(FailureKind.CONNECT, "why"))
            for connections in (1, 2):
                for _ in range(2):
                    await asyncio.gather(*(check.explain(error) for _ in range(5)))
                    clock.advance(UP_KEPT_S / 2)
                await until(lambda wanted=connections: server.connections == wanted)  # type: ignore[misc]
                clock.advance(0.1)

    asyncio.run(run())


def test_an_outage_is_kept_for_a_while_and_then_looked_at_again() -> None:
    clock = ManualClock()
    error = CallError(Failure(FailureKind.CONNECT, "why"))

    async def run() -> list[FailureKind]:
        with socket.socket() as one_address:
            one_address.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{one_address.getsockname()[1]}"
            check = NetworkCheck(FetchSettings(connect_to=address), clock)
            kinds = [(await check.explain(error)).failure.kind]
            one_address.listen()  # the outage is over
            for wait_s in (DOWN_KEPT_S - 0.1, 0.2):
                clock.advance(wait_s)
                kinds.append((await check.explain(error)).failure.kind)
        # And it is back, while we still think that all is well.
        for wait_s in (UP_KEPT_S - 0.1, 0.2):
            clock.advance(wait_s)
            kinds.append((await check.explain(error)).failure.kind)
        return kinds

    theirs, ours = FailureKind.CONNECT, FailureKind.LOCAL_NETWORK
    assert asyncio.run(run()) == [ours, ours, theirs, theirs, ours]


def test_all_that_fail_together_are_told_the_same() -> None:
    async def run() -> None:
        error = CallError(Failure(FailureKind.DNS, "why"))
        for names, kind in (
            (("localhost",), FailureKind.DNS),
            (("one.invalid",), FailureKind.LOCAL_NETWORK),
        ):
            check = NetworkCheck(FetchSettings(control_names=names), ManualClock())
            found = await asyncio.gather(*(check.explain(error) for _ in range(5)))
            assert {one.failure.kind for one in found} == {kind}

    asyncio.run(run())
