"""The guard: where connections go, and where they never do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from resources.adapters.api_client import UnansweredError
from resources.adapters.classify import classify
from resources.adapters.connector import (
    guarded_client,
    guarded_session,
    policy_of,
    user_agent,
)
from resources.core.config import FetchSettings
from resources.core.errors import FailureKind, UsageError
from tests.support.gates import permitted
from tests.support.raw_server import RawServer, for_ever, redirect, reply
from tests.support.resolver import FakeResolver

LOOPBACK = ("127.0.0.0/8",)


@asynccontextmanager
async def _permit() -> AsyncIterator[None]:
    with permitted():
        yield


async def _get(
    settings: FetchSettings, url: str, resolver: AbstractResolver | None = None
) -> tuple[int, bytes]:
    with permitted():
        async with (
            guarded_session(settings, "test", resolver) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.read()


def _kind_of_refusal(
    settings: FetchSettings, url: str, resolver: AbstractResolver | None = None
) -> FailureKind:
    async def run() -> FailureKind:
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await _get(settings, url, resolver)
        return classify(caught.value).kind

    return asyncio.run(run())


async def _forms(port: int, server: RawServer, url: str) -> tuple[FailureKind, int]:
    settings = FetchSettings(ports=(port,))
    with pytest.raises((aiohttp.ClientError, OSError, ValueError)) as caught:
        await _get(settings, url.format(port=port))
    return classify(caught.value).kind, server.connections


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://127.1:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[::127.0.0.1]:{port}/",
        "http://[64:ff9b::127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://127.127.127.127:{port}/",
        "http://\uff11\uff12\uff17.0.0.1:{port}/",
    ],
)
def test_loopback_is_refused_in_every_spelling_and_nothing_connects(url: str) -> None:
    async def run() -> tuple[FailureKind, int]:
        async with RawServer({"*": reply()}) as server:
            return await _forms(server.port, server, url)

    kind, connections = asyncio.run(run())
    assert connections == 0
    # Some spellings are no URL for the client, and some no name for the resolver.
    assert kind in {
        FailureKind.BLOCKED_ADDRESS,
        FailureKind.MALFORMED,
        FailureKind.NO_SUCH_HOST,
        FailureKind.DNS,
    }
    if "127.0.0.1:{" in url or "localhost" in url:
        assert kind is FailureKind.BLOCKED_ADDRESS


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.5"],
        ["169.254.169.254"],
        ["fe80::1"],
        ["127.0.0.1", "10.0.0.5"],  # several, refused for different reasons
        ["127.0.0.1", "::1"],
        ["::ffff:127.0.0.1"],
    ],
)
def test_a_name_that_leads_to_inner_addresses_only_is_blocked(addresses: list[str]) -> None:
    resolver = FakeResolver({"evil.example": [addresses]})
    kind = _kind_of_refusal(FetchSettings(), "http://evil.example/", resolver)
    assert kind is FailureKind.BLOCKED_ADDRESS


def test_an_inner_address_beside_an_allowed_one_is_passed_over() -> None:
    async def run() -> tuple[int, bytes]:
        async with RawServer({"/": reply(b"allowed")}) as server:
            resolver = FakeResolver({"both.example": [["10.0.0.5", "127.0.0.1"]]})
            settings = FetchSettings(allow_networks=LOOPBACK, ports=(server.port,))
            return await _get(settings, f"http://both.example:{server.port}/", resolver)

    assert asyncio.run(run()) == (200, b"allowed")


def test_a_name_that_leads_elsewhere_the_second_time_is_checked_again() -> None:
    async def run() -> FailureKind:
        async with RawServer({"/": reply()}) as server:
            resolver = FakeResolver({"rebind.example": [["127.0.0.1"], ["127.0.0.2"]]})
            settings = FetchSettings(allow_networks=("127.0.0.1/32",), ports=(server.port,))
            async with guarded_session(settings, "test", resolver) as session, _permit():
                url = f"http://rebind.example:{server.port}/"
                async with session.get(url) as answer:
                    assert answer.status == 200
                assert isinstance(session.connector, aiohttp.TCPConnector)
                session.connector.clear_dns_cache()
                with pytest.raises(aiohttp.ClientError) as caught:
                    await session.get(url)
                assert server.connections == 1
                return classify(caught.value).kind

    assert asyncio.run(run()) is FailureKind.BLOCKED_ADDRESS


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
def test_other_ports_than_those_of_the_web_are_refused(port: int) -> None:
    resolver = FakeResolver({"acme.example": [["93.184.215.14"]]})
    kind = _kind_of_refusal(FetchSettings(), f"http://acme.example:{port}/", resolver)
    assert kind is FailureKind.BLOCKED_ADDRESS


def test_an_allowed_network_opens_and_keeps_its_neighbours_closed() -> None:
    async def run() -> tuple[int, FailureKind]:
        async with RawServer({"/": reply()}) as server:
            settings = FetchSettings(allow_networks=LOOPBACK, ports=(server.port,))
            status, _ = await _get(settings, f"http://127.0.0.1:{server.port}/")
            with pytest.raises(aiohttp.ClientError) as caught:
                await _get(settings, f"http://10.0.0.1:{server.port}/")
            return status, classify(caught.value).kind

    assert asyncio.run(run()) == (200, FailureKind.BLOCKED_ADDRESS)


# -- one address for everything ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://acme.example/a", "acme.example"),
        ("http://www.acme.example:8080/a", "www.acme.example:8080"),
    ],
)
def test_connect_to_sends_every_name_there_and_keeps_the_host_header(url: str, host: str) -> None:
    async def run() -> RawServer:
        async with RawServer({"*": reply()}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=LOOPBACK)
            assert (await _get(settings, url))[0] == 200
            return server

    server = asyncio.run(run())
    assert [request.host for request in server.requests] == [host]


def test_connect_to_does_not_resolve_names_at_all() -> None:
    async def run() -> list[str]:
        resolver = FakeResolver({})
        async with RawServer({"*": reply()}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=LOOPBACK)
            await _get(settings, "http://no-such-name.invalid/", resolver)
        return resolver.asked

    assert asyncio.run(run()) == []


def test_with_connect_to_no_other_address_is_ever_connected_to() -> None:
    async def run() -> tuple[FailureKind, int]:
        async with RawServer({"*": reply()}) as server, RawServer({"*": reply()}) as other:
            settings = FetchSettings(
                connect_to=server.address, allow_networks=LOOPBACK, ports=(other.port,)
            )
            with pytest.raises(aiohttp.ClientError) as caught:
                await _get(settings, f"http://{other.address}/")
            return classify(caught.value).kind, other.connections

    assert asyncio.run(run()) == (FailureKind.BLOCKED_ADDRESS, 0)


def test_connect_to_alone_does_not_open_a_special_network() -> None:
    async def run() -> tuple[FailureKind, int]:
        async with RawServer({"*": reply()}) as server:
            with pytest.raises(aiohttp.ClientError) as caught:
                await _get(FetchSettings(connect_to=server.address), "http://acme.example/")
            return classify(caught.value).kind, server.connections

    assert asyncio.run(run()) == (FailureKind.BLOCKED_ADDRESS, 0)


def test_connect_to_understands_localhost_and_ipv6() -> None:
    assert (
        policy_of(FetchSettings(connect_to="localhost:80", allow_networks=LOOPBACK)).refusal(
            "127.0.0.1", 80
        )
        is None
    )
    assert (
        policy_of(FetchSettings(connect_to="[::1]:80", allow_networks=("::1/128",))).refusal(
            "::1", 80
        )
        is None
    )


def test_a_connect_to_that_does_not_resolve_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="CONNECT_TO"):
        policy_of(FetchSettings(connect_to="no-such-host.invalid:80"))


# -- the client for provider APIs -------------------------------------------------------------


def test_provider_calls_go_through_the_same_guard_in_plain_http() -> None:
    async def run() -> RawServer:
        async with RawServer({"/v1?a=1": reply(b"{}")}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=LOOPBACK)
            async with (
                guarded_session(settings, "agent/1") as session,
                _permit(),
            ):
                client = guarded_client(settings, session)
                answer = await client.get("https://api.example/v1", params={"a": "1"})
                assert (answer.status, answer.body) == (200, b"{}")
                assert answer.url == "https://api.example/v1?a=1"
            return server

    (request,) = asyncio.run(run()).requests
    assert (request.host, request.headers["user-agent"]) == ("api.example", "agent/1")


def test_user_name_and_password_of_a_url_go_nowhere() -> None:
    async def run() -> tuple[str, RawServer]:
        async with RawServer({"*": reply(b"{}")}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=LOOPBACK)
            async with guarded_session(settings, "x") as session, _permit():
                client = guarded_client(settings, session)
                answer = await client.get("https://me:secret@api.example/v1")
            return answer.url, server

    url, server = asyncio.run(run())
    assert url == "https://api.example/v1"
    assert [request.headers.get("authorization") for request in server.requests] == [None]


@pytest.mark.parametrize("url", ["https://", "http://[bad", "https://api.example:port/"])
def test_a_provider_address_that_is_none_is_malformed_and_nothing_is_sent(url: str) -> None:
    async def run() -> tuple[FailureKind, int]:
        async with RawServer({"*": reply(b"{}")}) as server:
            settings = FetchSettings(connect_to=server.address, allow_networks=LOOPBACK)
            async with guarded_session(settings, "x") as session, _permit():
                with pytest.raises(aiohttp.ClientError) as caught:
                    await guarded_client(settings, session).get(url)
            return classify(caught.value).kind, server.connections

    assert asyncio.run(run()) == (FailureKind.MALFORMED, 0)


def test_provider_calls_to_inner_addresses_are_blocked_and_redirects_are_not_followed() -> None:
    async def run() -> tuple[int, FailureKind, int]:
        async with RawServer({"/": redirect("http://127.0.0.2/inner")}) as server:
            settings = FetchSettings(allow_networks=("127.0.0.1/32",), ports=(server.port, 80))
            async with (
                guarded_session(settings, "x") as session,
                _permit(),
            ):
                client = guarded_client(settings, session)
                redirected = await client.get(f"http://{server.address}/")
                with pytest.raises(Exception) as caught:  # noqa: PT011
                    await client.get(f"http://127.0.0.3:{server.port}/")
            return redirected.status, classify(caught.value).kind, server.connections

    assert asyncio.run(run()) == (302, FailureKind.BLOCKED_ADDRESS, 1)


def test_a_provider_that_drips_its_answer_is_cut_off_at_the_limit_of_the_whole_call() -> None:
    dripping = for_ever(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ")

    async def run() -> FailureKind:
        async with RawServer({"/": dripping}) as server:
            settings = FetchSettings(
                allow_networks=LOOPBACK, ports=(server.port,), total_timeout=0.3, read_timeout=0.2
            )
            async with (
                guarded_session(settings, "x") as session,
                _permit(),
            ):
                with pytest.raises(UnansweredError) as caught:
                    await guarded_client(settings, session).get(f"http://{server.address}/")
            return classify(caught.value).kind

    assert asyncio.run(run()) is FailureKind.TIMEOUT


def test_no_cookie_is_kept_and_no_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def run() -> RawServer:
        async with RawServer({"*": reply(set_cookie="a=b; Path=/")}) as server:
            settings = FetchSettings(allow_networks=LOOPBACK, ports=(server.port,))
            async with (
                guarded_session(settings, "x") as session,
                _permit(),
            ):
                client = guarded_client(settings, session)
                for _ in range(2):
                    async with session.get(f"http://{server.address}/") as answer:
                        await answer.read()
                    await client.get(f"http://{server.address}/")
            return server

    server = asyncio.run(run())
    assert [request.headers.get("cookie") for request in server.requests] == [None] * 4


@pytest.mark.may_skip  # needs the openssl program
def test_certificates_are_checked(self_signed: ssl.SSLContext) -> None:
    async def run() -> FailureKind:
        async with RawServer({"*": reply()}, tls=self_signed) as server:
            settings = FetchSettings(allow_networks=LOOPBACK, ports=(server.port,))
            with pytest.raises(aiohttp.ClientError) as caught:
                await _get(settings, f"https://localhost:{server.port}/")
            return classify(caught.value).kind

    assert asyncio.run(run()) is FailureKind.TLS_CERTIFICATE


def test_we_say_who_we_are_and_how_to_reach_us() -> None:
    assert user_agent(FetchSettings(), "1.2") == "pipeline/1.2"
    assert user_agent(FetchSettings(contact="me@x.example"), "1.2") == (
        "pipeline/1.2 (+me@x.example)"
    )
