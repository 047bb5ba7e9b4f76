"""One page: sizes, redirects, cuts, waits, and which mistakes of a server are which failure."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from random import Random
from typing import Any

import pytest

from resources.adapters.clock import SystemClock
from resources.adapters.connector import guarded_session
from resources.adapters.fetcher import Fetcher, Response
from resources.core.breaker import RETRIES_ALWAYS_ALLOWED
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from tests.support.gates import open_gate
from tests.support.raw_server import (
    RawServer,
    Request,
    Step,
    for_ever,
    hang,
    redirect,
    reply,
    reset,
    then,
)
from tests.support.resolver import FakeResolver
from tests.support.time import NOW, ManualClock, ManualSleep

Script = Mapping[str, Step | Sequence[Step]]
HOME = "http://acme.example/"


def _fetch(
    script: Script,
    url: str = HOME,
    *,
    may_ask: Callable[[str], Awaitable[float]] | None = None,
    cut_at: int | None = None,
    clock: ManualClock | None = None,
    sleep: ManualSleep | None = None,
    **limits: Any,
) -> tuple[Response | Failure, RawServer]:
    async def run() -> tuple[Response | Failure, RawServer]:
        async with RawServer(script) as server:
            values: dict[str, Any] = {
                "connect_to": server.address,
                "allow_networks": ("127.0.0.0/8",),
                "attempts": 1,
                "read_timeout": 0.2,
                "total_timeout": 3,
                **limits,
            }
            settings = FetchSettings(**values)
            time = clock or ManualClock()
            async with (
                guarded_session(settings, "test/1") as session,
                open_gate(clock=time, sleep=ManualSleep(time)) as gate,
            ):
                wait = sleep or ManualSleep(time)
                fetcher = Fetcher(session, gate, settings, time, Random(7), wait)
                try:
                    got = await fetcher.fetch(url, may_ask=may_ask, cut_at=cut_at)
                    most = settings.max_body_bytes if cut_at is None else cut_at
                    body = got.body(most, is_cut=cut_at is not None)
                    return replace(got, sent=body, encoding=""), server
                except CallError as error:
                    return error.failure, server

    return asyncio.run(asyncio.wait_for(run(), 30))


def _failure(script: Script, url: str = HOME, **values: Any) -> Failure:
    outcome, _ = _fetch(script, url, **values)
    assert isinstance(outcome, Failure), outcome
    return outcome


def _response(script: Script, url: str = HOME, **values: Any) -> Response:
    outcome, _ = _fetch(script, url, **values)
    assert isinstance(outcome, Response), outcome
    return outcome


# -- pages ------------------------------------------------------------------------------------


def test_a_page_comes_back_whole_with_its_headers() -> None:
    response = _response({"/": reply(b"hello", x_odd="One")})
    assert (response.status, response.url, response.sent) == (200, HOME, b"hello")
    assert response.headers["x-odd"] == "One"


def test_we_ask_politely_and_say_who_we_are() -> None:
    _, server = _fetch({"/": reply()}, "https://acme.example/")
    (request,) = server.requests
    assert request.host == "acme.example"
    assert request.headers["user-agent"] == "test/1"
    assert "text/html" in request.headers["accept"]
    assert "cookie" not in request.headers


@pytest.mark.parametrize("status", ["204 No Content", "403 Forbidden", "404 Not Found", "410 Gone"])
def test_what_the_site_says_about_a_page_is_an_answer(status: str) -> None:
    assert _response({"/": reply(b"", status)}).status == int(status[:3])


@pytest.mark.parametrize("kind", ["video/mp4", "image/png", "Application/PDF; x=y", "font/woff2"])
def test_what_says_that_it_is_no_page_is_not_read(kind: str) -> None:
    endless = for_ever(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode(), b"x" * 999)
    assert _failure({"/": endless}).kind is FailureKind.UNSUPPORTED_CONTENT
    # A page that is not there is not there, whatever is shown instead; and a robots.txt is text.
    assert _response({"/": reply(b"x", "404 Not Found", content_type=kind)}).status == 404
    assert _response({"/": reply(b"x", content_type=kind)}, cut_at=500).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/json", ""])
def test_what_may_be_a_page_after_all_is_read(kind: str) -> None:
    assert _response({"/": reply(b"<html>", content_type=kind)}).sent == b"<html>"


def test_compressed_pages_are_unpacked() -> None:
    packed = gzip.compress(b"x" * 5000)
    assert _response({"/": reply(packed, content_encoding="gzip")}).sent == b"x" * 5000
    packed = zlib.compress(b"y" * 5000)
    assert _response({"/": reply(packed, content_encoding="deflate")}).sent == b"y" * 5000


# -- sizes ------------------------------------------------------------------------------------


def test_a_page_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert len(_response({"/": reply(b"x" * 2000)}, max_body_bytes=2000).sent) == 2000
    failure = _failure({"/": reply(b"x" * 2001)}, max_body_bytes=2000)
    assert failure.kind is FailureKind.TOO_LARGE


def test_an_endless_body_is_too_large() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    failure = _failure({"/": for_ever(head, b"x" * 65_536)}, max_body_bytes=200_000)
    assert failure.kind is FailureKind.TOO_LARGE


def test_a_bomb_is_too_large_before_it_is_unpacked() -> None:
    import tracemalloc

    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    tracemalloc.start()
    try:
        failure = _failure(
            {"/": reply(bomb, content_encoding="gzip")}, max_body_bytes=1_000_000, read_timeout=5
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure.kind is FailureKind.TOO_LARGE
    assert peak < 50_000_000


def test_a_longer_body_can_be_cut_instead() -> None:
    response = _response({"/": reply(b"x" * 100_000)}, cut_at=5000, max_body_bytes=1000)
    assert response.sent == b"x" * 5000
    assert _response({"/": reply(b"x" * 4000)}, cut_at=5000, max_body_bytes=1000).sent == (
        b"x" * 4000
    )


# -- redirects --------------------------------------------------------------------------------


def test_redirects_are_followed_to_the_page_and_its_address_is_kept() -> None:
    script = {
        "/": redirect("https://www.acme.example/de/?a=1", "301 Moved Permanently"),
        "www.acme.example/de/?a=1": redirect("../en"),
        "www.acme.example/en": reply(b"here"),
    }
    response = _response(script)
    assert (response.url, response.sent) == ("https://www.acme.example/en", b"here")


@pytest.mark.parametrize(
    "script", [{"/": redirect("/")}, {"/": redirect("/b"), "/b": redirect("/")}]
)
def test_a_circle_of_redirects_is_malformed(script: Script) -> None:
    failure = _failure(script)
    assert failure.kind is FailureKind.MALFORMED
    assert "circle" in failure.message


def test_only_so_many_redirects_are_followed() -> None:
    script: dict[str, Step] = {f"/{n}": redirect(f"/{n + 1}") for n in range(4)}
    script["/4"] = reply(b"end")
    assert _response(script, HOME + "0", max_redirects=4).sent == b"end"
    failure, server = _fetch(script, HOME + "0", max_redirects=3)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED
    assert "/4" not in server.paths


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://acme.example/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://",
        "http://[::1",
        "http://[bad]/",
        "http://acme.example:99999/",
        "http://acme.example:port/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 150 + "example/",
        "http://a..b/",
        "https://exa mple.com/",
        "http://\udcff\udcfe.example/",
    ],
)
def test_a_redirect_to_what_is_no_web_address_is_the_mistake_of_the_site(location: str) -> None:
    outcome, server = _fetch({"/": redirect(location), "*": reply()})
    assert isinstance(outcome, Failure), outcome
    assert outcome.kind is FailureKind.MALFORMED, outcome
    assert [request.target for request in server.requests] == ["/"]


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:7f00:2]/"],
)
def test_a_redirect_to_a_forbidden_address_is_refused_when_connecting(target: str) -> None:
    async def run() -> tuple[Failure, int]:
        async with RawServer({"/": redirect(target)}) as server:
            settings = FetchSettings(
                allow_networks=("127.0.0.1/32",), ports=(server.port, 80), attempts=3
            )
            clock, sleep = ManualClock(), ManualSleep()
            async with (
                guarded_session(settings, "x") as session,
                open_gate(clock=clock, sleep=sleep) as gate,
            ):
                fetcher = Fetcher(session, gate, settings, clock, Random(0), sleep)
                with pytest.raises(CallError) as caught:
                    await fetcher.fetch(f"http://{server.address}/")
                return caught.value.failure, len(server.requests)

    failure, requests = asyncio.run(run())
    assert failure.kind is FailureKind.BLOCKED_ADDRESS
    assert requests == 1


def test_every_target_of_a_redirect_must_be_allowed_before_it_is_asked() -> None:
    asked = []

    async def may_ask(url: str) -> float:
        asked.append(url)
        if url.endswith("/private"):
            raise CallError(Failure(FailureKind.ROBOTS, "not allowed", url))
        return 0.0

    script = {"/": redirect("/b"), "/b": redirect("/private"), "/private": reply()}
    outcome, server = _fetch(script, may_ask=may_ask, attempts=3)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.ROBOTS
    assert asked == [HOME, HOME + "b", HOME + "private"]
    assert set(server.paths) == {"/", "/b"}


def test_a_redirect_without_a_target_is_an_answer() -> None:
    assert _response({"/": reply(b"pick one", "300 Multiple Choices")}).status == 300
    assert _response({"/": reply(b"", "302 Found")}).status == 302


# -- cuts and waits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (b"", FailureKind.CONNECT),
        (reset, FailureKind.CONNECT),
        (reply(b"half", length=500), FailureKind.CONNECT),
        (then(reply(b"half", length=500), reset), FailureKind.CONNECT),
        (hang, FailureKind.TIMEOUT),
        (then(reply(b"half", length=500), hang), FailureKind.TIMEOUT),
        (then(b"HTTP/1.1 200 OK\r\nX-Slow: ", hang), FailureKind.TIMEOUT),
        (b"garbage\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50_000 + b"\r\n\r\n", FailureKind.MALFORMED),
        (
            reply(gzip.compress(b"x" * 9999)[:-20], content_encoding="gzip"),
            FailureKind.MALFORMED,
        ),
        (reply(b"no gzip at all", content_encoding="gzip"), FailureKind.MALFORMED),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n0\r\n\r\n",
            FailureKind.MALFORMED,
        ),
        (reply(b"", "408 Request Timeout"), FailureKind.TIMEOUT),
        (reply(b"", "500 Internal Server Error"), FailureKind.HTTP_5XX),
        (reply(b"", "599 Odd"), FailureKind.HTTP_5XX),
        (reply(b"", "429 Too Many Requests"), FailureKind.RATE_LIMITED),
    ],
)
def test_each_mistake_of_a_server_has_its_own_kind(step: Step, kind: FailureKind) -> None:
    failure = _failure({"/": step})
    assert failure.kind is kind, failure
    assert failure.url == HOME or kind is FailureKind.BUG


def test_a_body_that_drips_ends_at_the_total_time() -> None:
    async def drip(_request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    failure = _failure({"/": drip}, read_timeout=5, total_timeout=0.3)
    assert failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("value", ["90", formatdate(NOW + 90, usegmt=True)])
def test_a_wait_that_is_asked_for_is_handed_on_in_either_form(status: str, value: str) -> None:
    sleep = ManualSleep()
    outcome, server = _fetch({"/": reply(b"", status, retry_after=value)}, attempts=3, sleep=sleep)
    assert isinstance(outcome, Failure)
    assert outcome.retry_after_s == 90
    assert server.paths == {"/": 1}  # longer than a slot is held: the ledger waits, not we
    assert sleep.waits == []


# -- tries ------------------------------------------------------------------------------------


def test_a_call_is_tried_again_within_the_round_and_then_succeeds() -> None:
    clock = ManualClock()
    sleep = ManualSleep(clock)
    script = {"/": [reset, reply(b"", "503 Down", retry_after="2"), reply(b"up")]}
    outcome, server = _fetch(script, attempts=3, clock=clock, sleep=sleep)
    assert isinstance(outcome, Response)
    assert outcome.sent == b"up"
    assert server.paths == {"/": 3}
    assert 0 <= sleep.waits[0] <= 0.25
    assert sleep.waits[1] == 2


def test_after_the_last_try_the_last_failure_is_told() -> None:
    outcome, server = _fetch({"/": [reset, reply(b"", "500 Oops")]}, attempts=2)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.HTTP_5XX
    assert server.paths == {"/": 2}


def test_each_redirect_has_tries_of_its_own() -> None:
    script = {"/": [reset, redirect("/b")], "/b": [reset, redirect("/c")], "/c": [reset, reply()]}
    outcome, server = _fetch(script, attempts=2)
    assert isinstance(outcome, Response)
    assert server.paths == {"/": 2, "/b": 2, "/c": 2}


def test_tries_of_one_host_end_with_its_budget() -> None:
    outcome, server = _fetch({"/": reset}, attempts=10)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.CONNECT
    assert server.paths == {"/": 1 + RETRIES_ALWAYS_ALLOWED}


@pytest.mark.parametrize("delay_s", [3.0, 100.0])
def test_the_delay_of_the_site_lies_between_a_page_and_the_target_of_its_redirect(
    delay_s: float,
) -> None:
    clock = ManualClock()
    began_at: dict[str, float] = {}

    def noting(answer: bytes) -> Step:
        async def play(request: Request, writer: asyncio.StreamWriter) -> None:
            began_at[request.target] = clock.now()
            writer.write(answer)

        return play

    async def may_ask(url: str) -> float:
        return delay_s

    script = {"/": noting(redirect("/de/")), "/de/": noting(reply(b"here"))}
    assert _response(script, may_ask=may_ask, clock=clock).sent == b"here"
    assert began_at == {"/": NOW, "/de/": NOW + delay_s}


def test_what_is_final_is_not_tried_again() -> None:
    outcome, server = _fetch({"/": redirect("file:///x")}, attempts=5)
    assert isinstance(outcome, Failure)
    assert server.paths == {"/": 1}


def test_secrets_in_an_address_do_not_get_into_the_failure() -> None:
    failure = _failure({"*": reset}, "http://me:hunter22@acme.example/?token=abcdefgh")
    assert "hunter22" not in str(failure)
    assert "abcdefgh" not in str(failure)


# -- what never goes to another host ----------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["http://other.example/", "https://acme.example/b", "http://acme.example/b"]
)
def test_no_cookie_and_no_credential_goes_to_where_a_redirect_leads(target: str) -> None:
    first = reply(
        b"",
        "302 Found",
        location=target,
        set_cookie="session=secret; Path=/; Domain=example",
        www_authenticate="Basic",
    )
    outcome, server = _fetch({"acme.example/": first, "*": reply(set_cookie="a=b")})
    assert isinstance(outcome, Response)
    assert len(server.requests) == 2
    for request in server.requests:
        assert not {"cookie", "authorization", "referer", "if-none-match"} & set(request.headers)


# -- hosts that share an address --------------------------------------------------------------


def test_hosts_at_one_address_are_asked_over_as_many_connections_as_one_host_has() -> None:
    most = in_flight = 0

    async def slow(_request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal most, in_flight
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.05)
        in_flight -= 1
        writer.write(reply(b"x"))

    async def run() -> FakeResolver:
        async with RawServer({"*": slow}) as server:
            settings = FetchSettings(
                allow_networks=("127.0.0.0/8",), ports=(server.port,), connections_per_host=2
            )
            names = [f"{number}.example" for number in range(8)]
            resolver = FakeResolver({name: [["127.0.0.1"]] for name in names})
            async with (
                guarded_session(settings, "x", resolver) as session,
                open_gate() as gate,
            ):
                fetcher = Fetcher(session, gate, settings, SystemClock(), Random(0))
                urls = [f"http://{name}:{server.port}/" for name in names]
                answers = await asyncio.gather(*(fetcher.fetch(url) for url in urls))
                assert [answer.status for answer in answers] == [200] * 8
                assert sorted(resolver.asked) == names, "no name is looked up twice"
            return resolver

    asyncio.run(run())
    assert most == 2
