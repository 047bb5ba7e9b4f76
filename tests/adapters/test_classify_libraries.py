"""Every exception class of our libraries has its kind; one that a new version adds fails here.

The classes are found by introspection and made as the libraries make them, but without a cause
that would decide instead of them.
"""

from __future__ import annotations

import asyncio
import binascii
import errno
import json
import socket
import sqlite3
import ssl
import zlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import aiohttp
import orjson
import pydantic
import pytest
import sqlalchemy
import zstandard
from aiohttp import client_exceptions, http_exceptions
from isal import isal_zlib
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resources.adapters.classify import classify
from resources.core.errors import FailureKind, LeaseLost

Expected = Mapping[FailureKind, str]

AIOHTTP: Expected = {
    FailureKind.CONNECT: """
        ClientConnectionError ClientConnectionResetError ClientConnectorError ClientError
        ClientOSError ClientPayloadError ClientProxyConnectionError ServerConnectionError
        ServerDisconnectedError UnixClientConnectorError UploadAbortedError
    """,
    FailureKind.DNS: "ClientConnectorDNSError",
    FailureKind.TLS: "ClientConnectorSSLError ClientSSLError",
    FailureKind.TLS_CERTIFICATE: "ClientConnectorCertificateError ServerFingerprintMismatch",
    FailureKind.TIMEOUT: "ConnectionTimeoutError ServerTimeoutError SocketTimeoutError",
    FailureKind.MALFORMED: """
        ContentTypeError InvalidURL InvalidUrlClientError InvalidUrlRedirectClientError
        NonHttpUrlClientError NonHttpUrlRedirectClientError RedirectClientError TooManyRedirects
    """,
    # By their status; these are made with 503.
    FailureKind.HTTP_5XX: "ClientHttpProxyError ClientResponseError WSServerHandshakeError",
    # A mistake of ours: reading a web socket's message as the wrong type.
    FailureKind.BUG: "WSMessageTypeError",
}
AIOHTTP_PARSER: Expected = {
    FailureKind.MALFORMED: """
        BadHttpMessage BadHttpMethod BadStatusLine ContentEncodingError HttpBadRequest
        HttpProcessingError InvalidHeader InvalidURLError LineTooLong PayloadEncodingError
    """,
    # The body was cut off.
    FailureKind.CONNECT: "ContentLengthError TransferEncodingError",
    FailureKind.TOO_LARGE: "DecompressSizeError",
}
SSL: Expected = {
    FailureKind.TLS_CERTIFICATE: "SSLCertVerificationError",
    FailureKind.TLS: """
        SSLEOFError SSLError SSLSyscallError SSLWantReadError SSLWantWriteError SSLZeroReturnError
    """,
}
SQLALCHEMY: Expected = {
    FailureKind.STORE: """
        DBAPIError DatabaseError DisconnectionError InterfaceError InternalError
        InvalidatePoolError NotSupportedError OperationalError PendingRollbackError TimeoutError
    """,
    # Mistakes of ours. The data of one domain, or the driver used wrongly:
    FailureKind.BUG: """
        DataError IntegrityError ProgrammingError StatementError
    """
    # a schema, a statement or a result that SQLAlchemy cannot make sense of:
    """
        AmbiguousColumnError AmbiguousForeignKeysError ArgumentError CircularDependencyError
        CompileError ConstraintColumnNotFoundError DuplicateColumnError IdentifierError
        InvalidRequestError MultipleResultsFound NoForeignKeysError NoInspectionAvailable
        NoReferenceError NoReferencedColumnError NoReferencedTableError NoResultFound
        NoSuchColumnError NoSuchTableError ObjectNotExecutableError ResourceClosedError
        SQLAlchemyError UnreflectableTableError UnsupportedCompilationError
    """
    # an engine, a driver or a session put together wrongly (asynchronous ones are not used).
    """
        AwaitRequired EmulatedDBAPIException IllegalStateChangeError MissingGreenlet
        NoDBAPILoaded NoSuchModuleError UnboundExecutionError
    """,
}

_URL = URL("https://acme.example/")
_KEY = aiohttp.client_reqrep.ConnectionKey("acme.example", 443, True, True, None, None, None)
# What aiohttp makes of several addresses that failed differently: it has no number.
_SEVERAL = OSError("Multiple exceptions: refused, no route")


def _aiohttp(found: type[Exception]) -> Exception:
    make: Any = found
    if issubclass(found, client_exceptions.UnixClientConnectorError):
        return make("/run/x.sock", _KEY, _SEVERAL)
    if issubclass(found, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return make(_KEY, _SEVERAL)
    if issubclass(found, aiohttp.ClientResponseError):
        headers = CIMultiDictProxy(CIMultiDict[str]())
        info = aiohttp.RequestInfo(_URL, "GET", headers, _URL)
        # A redirect and a body of the wrong type are no errors of the server.
        status = {"TooManyRedirects": 302, "ContentTypeError": 200}.get(found.__name__, 503)
        return make(info, (), status=status, message="said so", headers=headers)
    if issubclass(found, aiohttp.InvalidURL):
        return make("https://[", "no host")
    if issubclass(found, aiohttp.ServerFingerprintMismatch):
        return make(b"expected", b"got", "acme.example", 443)
    return make("said so")


def _aiohttp_parser(found: type[Exception]) -> Exception:
    make: Any = found
    if issubclass(found, http_exceptions.LineTooLong):
        return make(b"GET", 8190)
    if found is http_exceptions.HttpProcessingError:
        return make(code=400, message="said so")
    return make("said so")


def _ssl(found: type[Exception]) -> Exception:
    return found(1, "[SSL] said so")


def _sqlalchemy(found: type[Exception]) -> Exception:
    make: Any = found
    name = found.__name__
    match name:
        case "CircularDependencyError":
            return make("said so", [], [])
        case "NoReferencedColumnError":
            return make("said so", "work", "domain")
        case "NoReferencedTableError":
            return make("said so", "work")
        case "ObjectNotExecutableError":
            return make("SELECT 1")
        case "UnsupportedCompilationError":
            return make(sqlalchemy.select(1).compile(), sqlalchemy.Integer)
    if issubclass(found, sqlalchemy.exc.DBAPIError):
        raised = getattr(sqlite3, name, sqlite3.DatabaseError)
        return make("SELECT 1", {}, raised("said so"))
    if issubclass(found, sqlalchemy.exc.StatementError):
        return make("said so", "SELECT 1", {}, ValueError("no such parameter"))
    return make("said so")


LIBRARIES: list[tuple[ModuleType, Expected, Callable[[type[Exception]], Exception]]] = [
    (client_exceptions, AIOHTTP, _aiohttp),
    (http_exceptions, AIOHTTP_PARSER, _aiohttp_parser),
    (ssl, SSL, _ssl),
    (sqlalchemy.exc, SQLALCHEMY, _sqlalchemy),
]
NAMES = [module.__name__ for module, _, _ in LIBRARIES]


def _classes(module: ModuleType) -> dict[str, type[Exception]]:
    """All exceptions that a module names and a library of the same name defines."""
    library = module.__name__.partition(".")[0]
    return {
        one.__name__: one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Exception)
        and not issubclass(one, Warning)
        and one.__module__.partition(".")[0] == library
    }


@pytest.mark.parametrize(("module", "expected", "make"), LIBRARIES, ids=NAMES)
def test_every_exception_of_a_library_has_its_kind(
    module: ModuleType, expected: Expected, make: Callable[[type[Exception]], Exception]
) -> None:
    kinds = {name: kind for kind, names in expected.items() for name in names.split()}
    classes = _classes(module)
    assert set(classes) == set(kinds), "a class is new or gone: give it a kind in classify.py"
    assert {name: classify(make(one)).kind for name, one in classes.items()} == kinds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, FailureKind.MALFORMED),
        (400, FailureKind.HTTP_4XX),
        (404, FailureKind.NOT_FOUND),
        (408, FailureKind.TIMEOUT),
        (410, FailureKind.GONE),
        (425, FailureKind.TIMEOUT),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.HTTP_5XX),
        (599, FailureKind.HTTP_5XX),
    ],
)
def test_an_error_with_a_status_is_what_the_status_says(status: int, kind: FailureKind) -> None:
    info = aiohttp.RequestInfo(_URL, "GET", CIMultiDictProxy(CIMultiDict[str]()), _URL)
    error = aiohttp.ClientResponseError(info, (), status=status, message="said so")
    assert classify(error).kind is kind


class _Answer(pydantic.BaseModel):
    name: str


UNREADABLE: Mapping[str, Callable[[], object]] = {
    "zlib": lambda: zlib.decompress(b"no"),
    "isal": lambda: isal_zlib.decompress(b"no"),
    "zstd": lambda: zstandard.decompress(b"no"),
    "utf-8": lambda: b"\xff".decode("utf-8"),
    "ascii": lambda: "ü".encode("ascii"),
    "idna": lambda: ("a" * 64).encode("idna"),
    "orjson": lambda: orjson.loads(b"{"),
    "json": lambda: json.loads("{"),
    "pydantic": lambda: _Answer.model_validate({"name": 1}),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_unpacked_decoded_or_read_is_malformed(name: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        UNREADABLE[name]()
    assert classify(caught.value).kind is FailureKind.MALFORMED


OTHERS: list[tuple[Exception, FailureKind]] = [
    (TimeoutError(), FailureKind.TIMEOUT),
    (asyncio.IncompleteReadError(b"half", 10), FailureKind.CONNECT),
    (asyncio.LimitOverrunError("no line ends", 10), FailureKind.MALFORMED),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), FailureKind.CONNECT),
    (ConnectionAbortedError(errno.ECONNABORTED, "aborted"), FailureKind.CONNECT),
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), FailureKind.CONNECT),
    (ConnectionResetError("cut"), FailureKind.CONNECT),
    (socket.herror(1, "unknown host"), FailureKind.DNS),
    (FileNotFoundError(errno.ENOENT, "No such file", "/x"), FailureKind.STORE),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), FailureKind.STORE),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), FailureKind.STORE),
    (sqlite3.OperationalError("database is locked"), FailureKind.STORE),
    (sqlite3.DatabaseError("file is not a database"), FailureKind.STORE),
    (sqlite3.IntegrityError("UNIQUE constraint failed"), FailureKind.BUG),
    (sqlite3.ProgrammingError("type 'dict' is not supported"), FailureKind.BUG),
    (LeaseLost("taken over"), FailureKind.LEASE_LOST),
]


@pytest.mark.parametrize(("error", "kind"), OTHERS, ids=lambda one: type(one).__name__)
def test_exceptions_of_the_standard_library_have_their_kind(
    error: Exception, kind: FailureKind
) -> None:
    assert classify(error).kind is kind


@pytest.mark.parametrize(
    "mistake",
    [
        AssertionError,
        AttributeError,
        EOFError,
        ImportError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OSError,  # without a number it could be anything
        OverflowError,
        RecursionError,
        RuntimeError,
        StopIteration,
        TypeError,
        ValueError,
        ZeroDivisionError,
        binascii.Error,
    ],
)
def test_a_mistake_of_ours_is_a_bug_with_its_whole_stack(mistake: type[Exception]) -> None:
    def inner() -> None:
        raise mistake("said so")

    with pytest.raises(mistake) as caught:
        inner()
    failure = classify(caught.value)
    assert (failure.kind, "in inner" in (failure.stack or "")) == (FailureKind.BUG, True)
    assert f"unforeseen {mistake.__name__}" in failure.message


def test_an_exception_that_cannot_say_what_it_is_does_not_hide_the_failure() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert classify(Mute()).message == "unforeseen Mute: Mute"
