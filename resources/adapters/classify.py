"""From exceptions to failure kinds: what the network stack, DNS, TLS and disk raise, recognised.

An exception that no rule knows is a `bug`, with its stack trace: the one place where that is
decided, so that nothing unforeseen is ever swallowed or mistaken for the other side's fault.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import traceback
from collections.abc import Iterator

import aiohttp
import httpx
from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.connector import BlockedAddressError
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.redaction import redact

_OURS = {errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE}
# One host without a route (a site with IPv6 only) is not yet an outage; `network` tells them apart.
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
_NETWORK = (aiohttp.ClientError, httpx.TransportError)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def classify(
    error: BaseException, *, url: str | None = None, provider: str | None = None
) -> Failure:
    """Say what kind of failure an exception is.

    Args:
        error: What was raised.
        url: What was asked for; secrets are taken out.
        provider: Whose call it was.
    """
    if isinstance(error, CallError):
        return error.failure
    links = list(_chain(error))
    is_network = any(isinstance(link, _NETWORK) for link in links)
    for cause in links:
        kind = _kind_of(cause)
        if kind is FailureKind.STORE and is_network:
            kind = FailureKind.CONNECT  # a packet filter denies with the same codes as a disk
        if kind is not None:
            message = redact(f"{kind.replace('_', ' ')}: {_words_of(cause)}")
            return Failure(kind, message, redact(url) if url else None, provider)
    stack = "".join(traceback.format_exception(error))
    return Failure(
        FailureKind.BUG,
        redact(f"unforeseen {type(error).__name__}: {error}"[:500]),
        redact(url) if url else None,
        provider,
        stack=redact(stack),
    )


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


def _kind_of(error: BaseException) -> FailureKind | None:  # noqa: PLR0911, PLR0912  # a table
    match error:
        case BlockedAddressError():
            return FailureKind.BLOCKED_ADDRESS
        case CallError():
            return error.failure.kind
        case socket.gaierror():
            return FailureKind.NO_SUCH_HOST if error.errno in _NO_SUCH_NAME else FailureKind.DNS
        case ssl.SSLCertVerificationError():
            return FailureKind.TLS_CERTIFICATE
        case ssl.SSLError():
            return FailureKind.TLS
        case asyncio.TimeoutError() | httpx.TimeoutException():
            return FailureKind.TIMEOUT
        case SQLAlchemyError():
            return FailureKind.STORE
        case httpx.TooManyRedirects() | httpx.DecodingError():
            return FailureKind.MALFORMED
        case aiohttp.http_exceptions.ContentLengthError():
            return FailureKind.CONNECT  # cut off in the middle of the body
        case aiohttp.http_exceptions.TransferEncodingError():
            return FailureKind.CONNECT
        case (
            aiohttp.InvalidURL()
            | httpx.InvalidURL()
            | aiohttp.http_exceptions.ContentEncodingError()
            | aiohttp.http_exceptions.BadHttpMessage()
        ):
            return FailureKind.MALFORMED
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return FailureKind.CONNECT
        case httpx.RemoteProtocolError() | httpx.NetworkError() | ConnectionError():
            return FailureKind.CONNECT
        case OSError() if error.errno in _OURS:
            return FailureKind.LOCAL_NETWORK
        case OSError() if error.errno in _NO_ROUTE:
            return FailureKind.CONNECT
        case OSError() if error.errno in _DISK:
            return FailureKind.STORE
        case OSError() if error.errno == errno.ETIMEDOUT:
            return FailureKind.TIMEOUT
        case aiohttp.ClientConnectionError():
            return FailureKind.CONNECT
        case aiohttp.ClientResponseError():
            return FailureKind.MALFORMED
    return None


def _words_of(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f" ({error.filename})" if error.filename else "")
    return text[:300]
