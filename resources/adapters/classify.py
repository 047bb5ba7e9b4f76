"""From exceptions to failure kinds: what the network stack, DNS, TLS, database and disk raise.

An exception that no rule knows is a `bug`, with its stack trace: the one place where that is
decided, so that nothing unforeseen is ever swallowed or mistaken for the other side's fault. A test
goes through every exception that our libraries define.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
import traceback
import zlib
from collections.abc import Iterator, Sequence

import aiohttp
import pydantic
import zstandard
from aiohttp import http_exceptions
from isal import isal_zlib
from sqlalchemy import exc as database_errors

from resources.adapters.api_client import UnansweredError
from resources.adapters.resolving import BlockedAddressError
from resources.adapters.wire_limits import WireLimitError
from resources.core.errors import CallError, Failure, FailureKind, LeaseLost
from resources.core.redaction import redact

# This machine has run out of something that connections need, or has no network.
_OURS = {
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EADDRINUSE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
}
# One host without a route (a site with IPv6 only) is not yet an outage; `network` tells them apart.
_UNREACHED = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETRESET,
    errno.ENOTCONN,
    errno.ESHUTDOWN,
    errno.EAFNOSUPPORT,
    errno.EPROTO,
}
_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EXDEV,
    errno.EBUSY,
    errno.ESTALE,
    errno.ENODEV,
    errno.ENXIO,
    errno.EMLINK,
    errno.ENOLCK,
}
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_DRIVERS = {"sqlite3", "psycopg2", "psycopg"}
# One row's data or a statement of ours is wrong: the database itself is well.
_OUR_STATEMENTS = {"IntegrityError", "DataError"}
_STATUSES = {
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    410: FailureKind.GONE,
    425: FailureKind.TIMEOUT,
    429: FailureKind.RATE_LIMITED,
}


def classify(
    error: BaseException, *, url: str | None = None, provider: str | None = None
) -> Failure:
    """Say what kind of failure an exception is.

    Args:
        error: What was raised.
        url: What was asked for, where it is known; secrets are taken out.
        provider: Whose call it was.
    """
    links = list(_chain(error))
    for link in links:
        if isinstance(link, CallError):
            return link.failure
    asked = url or _url_of(links)
    where = redact(asked) if asked else None
    is_network = any(isinstance(link, aiohttp.ClientError) for link in links)
    for cause in links:
        kind = _kind_of(cause)
        if kind is FailureKind.STORE and is_network:
            kind = FailureKind.CONNECT  # a packet filter denies with the same codes as a disk
        if kind is not None:
            return Failure(kind, redact(_message(kind, cause)), where, provider)
    stack = "".join(traceback.format_exception(error))
    message = f"unforeseen {type(error).__name__}: {_text(error)}"[:500]
    return Failure(FailureKind.BUG, redact(message), where, provider, stack=redact(stack))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The innermost cause first: it says the most."""
    links: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(links) < 10:
        links.append(seen)
        inner = getattr(seen, "os_error", None)
        # Not __context__: a mistake of ours while a network error is handled is still a mistake.
        seen = seen.__cause__ or (inner if isinstance(inner, BaseException) else None)
    return reversed(links)


def _kind_of(error: BaseException) -> FailureKind | None:
    """What one link of the chain is by itself, or None when it says nothing."""
    for recognise in (_of_call, _of_http, _of_database, _of_system, _of_content):
        kind = recognise(error)
        if kind is not None:
            return kind
    return None


def _of_call(error: BaseException) -> FailureKind | None:  # noqa: PLR0911  # a table
    """Addresses, names, encryption and time."""
    match error:
        case BlockedAddressError():
            return FailureKind.BLOCKED_ADDRESS
        case LeaseLost():
            return FailureKind.LEASE_LOST
        case socket.gaierror():
            return FailureKind.NO_SUCH_HOST if error.errno in _NO_SUCH_NAME else FailureKind.DNS
        case socket.herror() | aiohttp.ClientConnectorDNSError():
            return FailureKind.DNS
        case ssl.SSLCertVerificationError() | aiohttp.ServerFingerprintMismatch():
            return FailureKind.TLS_CERTIFICATE
        case ssl.SSLError() | aiohttp.ClientSSLError():
            return FailureKind.TLS
        case TimeoutError():
            return FailureKind.TIMEOUT
    return None


def _of_http(error: BaseException) -> FailureKind | None:  # noqa: PLR0911  # a table
    """What the HTTP client raises; its general classes last."""
    match error:
        case http_exceptions.ContentLengthError() | http_exceptions.TransferEncodingError():
            return FailureKind.CONNECT  # cut off in the middle of the body
        case http_exceptions.DecompressSizeError() | WireLimitError():
            return FailureKind.TOO_LARGE
        case http_exceptions.HttpProcessingError():
            return FailureKind.MALFORMED
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | aiohttp.RedirectClientError():
            return FailureKind.MALFORMED
        case aiohttp.ClientResponseError():
            return _of_status(error.status)
        case aiohttp.ClientOSError():
            return _of_system(error) or FailureKind.CONNECT
        case aiohttp.ClientError():
            return FailureKind.CONNECT
    return None


def _of_status(status: int) -> FailureKind:
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return FailureKind.HTTP_5XX
    return FailureKind.HTTP_4XX if status >= 400 else FailureKind.MALFORMED


def _of_database(error: BaseException) -> FailureKind | None:
    """The ledger's database is away, full, locked, spoilt or declines what it should take.

    Wrong data of one domain, and misuse of SQLAlchemy or the driver, are not among that: as a bug
    they have a stack trace, and one domain's data does not stop the run.
    """
    match error:
        case (
            database_errors.TimeoutError()
            | database_errors.DisconnectionError()
            | database_errors.PendingRollbackError()
        ):
            return FailureKind.STORE
        case database_errors.DBAPIError():
            return _of_driver(error, error.orig or error)
    if type(error).__module__.partition(".")[0] in _DRIVERS:
        return _of_driver(error, error)
    return None


def _of_driver(error: BaseException, original: BaseException) -> FailureKind | None:
    """By the class names of PEP 249, so that no driver need be installed."""
    names = {one.__name__ for one in (*type(error).__mro__, *type(original).__mro__)}
    # Without a code from the server it was the driver that declined, for how we called it.
    is_misuse = type(original).__name__ == "ProgrammingError" and not getattr(
        original, "pgcode", None
    )
    return None if is_misuse or names & _OUR_STATEMENTS else FailureKind.STORE


def _of_system(error: BaseException) -> FailureKind | None:  # noqa: PLR0911  # a table
    """Errors of the operating system, by their numbers."""
    match error:
        case ConnectionError() | asyncio.IncompleteReadError():
            return FailureKind.CONNECT
        case OSError() if error.filename is not None:
            return FailureKind.STORE
        case OSError() if error.errno in _OURS:
            return FailureKind.LOCAL_NETWORK
        case OSError() if error.errno in _UNREACHED:
            return FailureKind.CONNECT
        case OSError() if error.errno in _DISK:
            return FailureKind.STORE
        case OSError() if error.errno == errno.ETIMEDOUT:
            return FailureKind.TIMEOUT
    return None


def _of_content(error: BaseException) -> FailureKind | None:
    """An answer that cannot be unpacked, decoded or read as what it should be."""
    match error:
        case zlib.error() | isal_zlib.error() | zstandard.ZstdError():  # type: ignore[misc]
            return FailureKind.MALFORMED
        case UnicodeError() | json.JSONDecodeError() | pydantic.ValidationError():
            return FailureKind.MALFORMED
        case asyncio.LimitOverrunError():
            return FailureKind.MALFORMED
    return None


def _message(kind: FailureKind, error: BaseException) -> str:
    """One sentence about this very case; for our own disk and database also where and what now."""
    words = _words_of(error)
    if kind is not FailureKind.STORE:
        return f"{kind.replace('_', ' ')}: {words}"
    if not isinstance(error, OSError):
        return (
            f"The ledger's database declined its work: {words}. Check that it is up, has room and "
            "is writable (PIPELINE_DATABASE_URL; by default ledger.db in PIPELINE_HOME), and run "
            "again; nothing is lost."
        )
    path = f"{error.filename!r}" if error.filename is not None else "A file of this machine"
    return (
        f"{path} could not be read or written: {words}. Free space or fix the permissions, and "
        "run again; nothing is lost."
    )


def _words_of(error: BaseException) -> str:
    """What the library or the system said, on one line, without the SQL and its parameters."""
    original = error.orig if isinstance(error, database_errors.DBAPIError) else None
    text = _text(original or error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    text = " ".join(text.partition("(Background on this error")[0].split())
    return (text or type(error).__name__)[:300].rstrip(".")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a class that cannot even say what it is
        return type(error).__name__


def _url_of(links: Sequence[BaseException]) -> str | None:
    """What a provider was asked for, when the error knows."""
    return next((link.url for link in links if isinstance(link, UnansweredError)), None)
