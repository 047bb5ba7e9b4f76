"""Every exception of the network, the disk and the database has its kind; the rest are bugs."""

from __future__ import annotations

import asyncio
import errno
import socket
import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import psycopg2
import psycopg2.errors
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy import exc as database_errors

from resources.adapters.api_client import UnansweredError
from resources.adapters.classify import classify
from resources.adapters.connector import guarded_client, guarded_session
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.redaction import remember
from tests.support.gates import permitted
from tests.support.raw_server import RawServer, Step, hang, reply, reset, then


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(port: int) -> FetchSettings:
    return FetchSettings(
        allow_networks=("127.0.0.0/8",),
        ports=(port,),
        read_timeout=0.2,
        connect_timeout=1,
        total_timeout=5,
    )


async def _kinds(url: str, port: int) -> tuple[FailureKind, FailureKind]:
    """What the same trouble is for the two clients: pages and providers."""
    settings = _settings(port)
    found = []
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(guarded_session(settings, "x"))
        client = guarded_client(settings, session)

        async def page() -> None:
            async with session.get(url) as answer:
                await answer.read()

        async def api() -> None:
            await client.get(url)

        calls: list[Callable[[], Awaitable[None]]] = [page, api]
        for call in calls:
            with pytest.raises(Exception) as caught, permitted():  # noqa: PT011
                await call()
            failure = classify(caught.value)
            assert failure.kind is not FailureKind.BUG, failure.stack
            found.append(failure.kind)
    return found[0], found[1]


def _served(step: Step, *, tls: ssl.SSLContext | None = None, scheme: str = "http") -> FailureKind:
    async def run() -> tuple[FailureKind, FailureKind]:
        async with RawServer({"*": step}, tls=tls) as server:
            return await _kinds(f"{scheme}://localhost:{server.port}/", server.port)

    one, other = asyncio.run(run())
    assert one is other
    return one


def test_a_refused_port_is_connect() -> None:
    port = _free_port()
    kinds = asyncio.run(_kinds(f"http://127.0.0.1:{port}/", port))
    assert kinds == (FailureKind.CONNECT, FailureKind.CONNECT)


def test_a_reset_before_the_answer_is_connect() -> None:
    assert _served(reset) is FailureKind.CONNECT


def test_a_reset_within_the_body_is_connect() -> None:
    assert _served(then(reply(b"half", length=1000), reset)) is FailureKind.CONNECT


def test_an_end_before_the_body_is_whole_is_connect() -> None:
    assert _served(reply(b"half", length=1000)) is FailureKind.CONNECT


def test_an_end_without_an_answer_is_connect() -> None:
    assert _served(b"") is FailureKind.CONNECT


def test_no_answer_in_time_is_timeout() -> None:
    assert _served(hang) is FailureKind.TIMEOUT


def test_a_body_that_stops_coming_is_timeout() -> None:
    assert _served(then(reply(b"half", length=1000), hang)) is FailureKind.TIMEOUT


def test_an_answer_that_is_no_http_is_malformed() -> None:
    assert _served(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") is FailureKind.MALFORMED


def test_endless_headers_are_malformed() -> None:
    many = b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"
    assert _served(many) is FailureKind.MALFORMED


def test_a_body_that_is_not_compressed_as_it_says_is_malformed() -> None:
    assert _served(reply(b"this is no gzip", content_encoding="gzip")) is FailureKind.MALFORMED


def test_tls_to_a_port_that_speaks_plain_http_is_tls() -> None:
    assert _handshake_with(reply(b"what?", "400 Bad Request")) == FailureKind.TLS


def test_a_handshake_that_the_other_side_refuses_is_tls() -> None:
    assert _handshake_with(b"\x15\x03\x01\x00\x02\x02\x28") == FailureKind.TLS


def test_a_handshake_that_the_other_side_ends_is_tls_or_connect() -> None:
    assert _handshake_with(b"") in {FailureKind.TLS, FailureKind.CONNECT}


def _handshake_with(answer: bytes) -> FailureKind:
    async def run() -> tuple[FailureKind, FailureKind]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await _kinds(f"https://localhost:{port}/", port)

    one, other = asyncio.run(run())
    assert one is other
    return one


@pytest.mark.may_skip  # needs the openssl program
def test_a_certificate_that_nobody_vouches_for_is_a_certificate_failure(
    self_signed: ssl.SSLContext,
) -> None:
    assert _served(reply(), tls=self_signed, scheme="https") is FailureKind.TLS_CERTIFICATE


def test_a_name_that_does_not_exist_is_known_by_what_the_resolver_said() -> None:
    name = "no-such-name.invalid"
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo(name, 80)
    # Without any network even the resolver cannot tell.
    is_known = caught.value.errno in {socket.EAI_NONAME, socket.EAI_NODATA}
    expected = FailureKind.NO_SUCH_HOST if is_known else FailureKind.DNS
    kinds = asyncio.run(_kinds(f"http://{name}:8080/", 8080))
    assert kinds == (expected, expected)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (socket.EAI_NONAME, FailureKind.NO_SUCH_HOST),
        (socket.EAI_AGAIN, FailureKind.DNS),
        (socket.EAI_FAIL, FailureKind.DNS),
    ],
)
def test_name_resolution_tells_absence_from_silence(number: int, kind: FailureKind) -> None:
    assert classify(socket.gaierror(number, "x")).kind is kind


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, FailureKind.STORE),
        (errno.EDQUOT, FailureKind.STORE),
        (errno.EROFS, FailureKind.STORE),
        (errno.EIO, FailureKind.STORE),
        (errno.EACCES, FailureKind.STORE),
        (errno.EPERM, FailureKind.STORE),
        (errno.ENOENT, FailureKind.STORE),
        (errno.EISDIR, FailureKind.STORE),
        (errno.ESTALE, FailureKind.STORE),
        (errno.ENFILE, FailureKind.LOCAL_NETWORK),
        (errno.ENOBUFS, FailureKind.LOCAL_NETWORK),
        (errno.EADDRNOTAVAIL, FailureKind.LOCAL_NETWORK),
        (errno.EADDRINUSE, FailureKind.LOCAL_NETWORK),
        (errno.EHOSTDOWN, FailureKind.CONNECT),
        (errno.ECONNABORTED, FailureKind.CONNECT),
        (errno.EMFILE, FailureKind.LOCAL_NETWORK),
        (errno.ENETDOWN, FailureKind.LOCAL_NETWORK),
        (errno.ENETUNREACH, FailureKind.CONNECT),
        (errno.EHOSTUNREACH, FailureKind.CONNECT),
        (errno.ECONNREFUSED, FailureKind.CONNECT),
        (errno.EPIPE, FailureKind.CONNECT),
        (errno.ETIMEDOUT, FailureKind.TIMEOUT),
    ],
)
def test_errors_of_the_system_have_their_kind(number: int, kind: FailureKind) -> None:
    assert classify(OSError(number, "x")).kind is kind


def test_a_packet_filter_that_denies_a_connection_is_not_taken_for_the_disk() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("a", 80, False, True, None, None, None)
    for number in (errno.EPERM, errno.EACCES):
        inner = OSError(number, "denied")
        assert classify(aiohttp.ClientConnectorError(key, inner)).kind is FailureKind.CONNECT


def test_addresses_that_all_failed_in_different_ways_are_connect() -> None:
    # What aiohttp makes of them has no number.
    key = aiohttp.client_reqrep.ConnectionKey("a", 80, False, True, None, None, None)
    several = OSError("Multiple exceptions: [Errno 111] refused, [Errno 113] no route")
    assert classify(aiohttp.ClientConnectorError(key, several)).kind is FailureKind.CONNECT


def test_a_disk_error_names_its_file_and_what_the_system_said(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "x"
    with pytest.raises(OSError, match="No such file") as caught:
        missing.read_bytes()
    failure = classify(caught.value)
    assert failure.kind is FailureKind.STORE
    assert str(missing) in failure.message
    assert "No such file or directory" in failure.message
    # Whatever the number: what has a file's name is no connection.
    full = classify(OSError(errno.EMFILE, "Too many open files", str(missing)))
    assert (full.kind, "Too many open files" in full.message) == (FailureKind.STORE, True)


def test_a_database_that_cannot_be_opened_is_named_as_the_ledgers(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/none/ledger.db")
    with pytest.raises(Exception) as caught, engine.connect() as connection:  # noqa: PT011
        connection.execute(text("SELECT 1"))
    failure = classify(caught.value)
    assert failure.kind is FailureKind.STORE
    assert "The ledger's database declined its work: unable to open database file." in (
        failure.message
    )
    assert "sqlalche.me" not in failure.message


def test_a_database_server_that_is_away_is_told_without_password_and_statement() -> None:
    url = f"postgresql+psycopg2://me:unseen-pass@127.0.0.1:{_free_port()}/ledger"
    with (
        pytest.raises(Exception) as caught,  # noqa: PT011
        create_engine(url).connect() as connection,
    ):
        connection.execute(text("SELECT 1"))
    failure = classify(caught.value)
    assert failure.kind is FailureKind.STORE
    assert "Connection refused" in failure.message
    assert "unseen-pass" not in f"{failure}"
    full = sqlite3.OperationalError("database or disk is full")
    broken = database_errors.OperationalError("INSERT INTO work", {"p": "x"}, full)
    assert "is full" in classify(broken).message
    assert "INSERT" not in classify(broken).message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg2.OperationalError("server closed the connection"), FailureKind.STORE),
        (psycopg2.InterfaceError("connection already closed"), FailureKind.STORE),
        (psycopg2.errors.InsufficientPrivilege("permission denied"), FailureKind.STORE),
        (psycopg2.errors.UndefinedTable("no table work"), FailureKind.STORE),
        # One domain's data must not stop the run: a bug, with its stack trace.
        (psycopg2.errors.UniqueViolation("duplicate key"), FailureKind.BUG),
        (psycopg2.errors.StringDataRightTruncation("too long"), FailureKind.BUG),
        (psycopg2.ProgrammingError("can't adapt type 'dict'"), FailureKind.BUG),
    ],
)
def test_the_drivers_errors_are_told_apart_wrapped_or_not(
    error: Exception, kind: FailureKind
) -> None:
    assert classify(error).kind is kind
    wrapped = database_errors.DBAPIError("SELECT 1", {}, error)
    wrapped.__cause__ = error
    assert classify(wrapped).kind is kind


def test_a_failed_call_of_a_provider_tells_its_address_without_secrets() -> None:
    error = UnansweredError("https://api.example/v1?api_key=secret1&q=a")
    error.__cause__ = aiohttp.ServerDisconnectedError()
    failure = classify(error, provider="pdl")
    assert failure.kind is FailureKind.CONNECT
    assert failure.url == "https://api.example/v1?api_key=***&q=a"
    assert classify(aiohttp.ServerDisconnectedError()).url is None


def test_an_unforeseen_exception_is_a_bug_with_its_stack() -> None:
    def deep() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError) as caught:
        deep()
    failure = classify(caught.value, url="https://a.example/", provider="pdl")
    assert (failure.kind, failure.url, failure.provider) == (
        FailureKind.BUG,
        "https://a.example/",
        "pdl",
    )
    assert "in deep" in (failure.stack or "")


def test_a_mistake_of_ours_while_a_network_error_is_handled_is_still_a_bug() -> None:
    def careless() -> None:
        try:
            raise ConnectionResetError("reset")
        except ConnectionResetError:
            {}["missing"]

    with pytest.raises(KeyError) as caught:
        careless()
    assert classify(caught.value).kind is FailureKind.BUG


def test_a_failure_that_was_known_already_stays_as_it_is() -> None:
    failure = Failure(FailureKind.ROBOTS, "not allowed")
    assert classify(CallError(failure)) is failure
    wrapped = UnansweredError("https://a.example/")
    wrapped.__cause__ = CallError(failure)
    assert classify(wrapped).kind is FailureKind.ROBOTS


def test_no_secret_gets_into_a_failure() -> None:
    remember(["sup3r-s3cret-key"])
    error = ValueError("called with sup3r-s3cret-key")
    failure = classify(error, url="https://me:pass@a.example/?api_key=sup3r-s3cret-key")
    assert "sup3r-s3cret-key" not in f"{failure}"
    assert "pass@" not in f"{failure.url}"
