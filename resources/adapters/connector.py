"""The one guarded connector: every connection that leaves the process for pages and providers.

The address is checked when connecting, so names, redirects and rebinding are covered alike.
`connect_to` sends everything to one address, `allow_networks` opens special-purpose networks;
there is no other door.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
import isal.isal_zlib
from aiohttp.abc import AbstractResolver

from resources.adapters.api_client import ApiClient, Question, Reply, UnansweredError
from resources.adapters.permit import require_permit
from resources.adapters.resolving import (
    BlockedAddressError,
    GuardedResolver,
    OneAddressResolver,
)
from resources.adapters.wire_limits import BoundedConnector, read_whole
from resources.core.addresses import AddressPolicy
from resources.core.config import FetchSettings
from resources.core.errors import UsageError
from resources.core.robots_rules import MAX_BYTES as ROBOTS_BYTES

KEEPALIVE_S = 10.0
DNS_CACHE_S = 300


def _split(connect_to: str) -> tuple[str, int]:
    host, _, port = connect_to.rpartition(":")
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    if ":" in host:
        return host, int(port)
    try:
        return socket.gethostbyname(host), int(port)
    except OSError as error:
        raise UsageError(
            f"PIPELINE_FETCH__CONNECT_TO names {host!r}, which does not resolve: {error.strerror}."
        ) from error


def policy_of(settings: FetchSettings) -> AddressPolicy:
    """The address policy that the settings describe."""
    only = _split(settings.connect_to) if settings.connect_to else None
    return AddressPolicy(settings.allow_networks, settings.ports, only)


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself when a connection is cut.

    It does so for every GET, unseen by us: a paid call would be sent twice for one row in the
    ledger. It goes by the type of the error, which is why that is changed here; the cause stays.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


def guarded_session(
    settings: FetchSettings, user_agent: str, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """A client session whose every connection is checked. Close it after use.

    Args:
        resolver: Asked for addresses instead of the system; its answers are checked alike.

    It keeps no cookies, trusts no proxy variables, follows no redirect by itself, and sends nothing
    without a permit of the gate.
    """
    # isal inflates three times faster than zlib; this is aiohttp's public way to use it.
    aiohttp.set_zlib_backend(isal.isal_zlib)
    policy = policy_of(settings)

    def checked_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        refusal = policy.refusal(address[0], address[1])
        if refusal is not None:
            raise BlockedAddressError(refusal)
        return socket.socket(family=family, type=kind, proto=protocol)

    if settings.connect_to:
        resolver = OneAddressResolver(*_split(settings.connect_to))
    else:
        resolver = GuardedResolver(resolver or aiohttp.DefaultResolver(), policy)
    connector = BoundedConnector(
        # Of a robots.txt the beginning is read, also where pages may be smaller than that.
        max(settings.max_body_bytes, ROBOTS_BYTES),
        resolver=resolver,
        socket_factory=checked_socket,
        limit=0,
        keepalive_timeout=KEEPALIVE_S,
        ttl_dns_cache=DNS_CACHE_S,
        ssl=ssl.create_default_context(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(require_permit, _send_once),
        headers={"User-Agent": user_agent},
        timeout=aiohttp.ClientTimeout(
            total=settings.total_timeout,
            sock_connect=settings.connect_timeout,
            sock_read=settings.read_timeout,
        ),
        max_line_size=8190,
        max_field_size=16_384,
        trust_env=False,
    )


def guarded_client(settings: FetchSettings, session: aiohttp.ClientSession) -> ApiClient:
    """A client for provider APIs on the guarded session."""
    timeout = aiohttp.ClientTimeout(
        total=settings.total_timeout,
        # Of a provider, name resolution counts as part of connecting.
        connect=settings.connect_timeout,
        sock_connect=settings.connect_timeout,
        sock_read=settings.read_timeout,
    )

    async def send(question: Question) -> Reply:
        wire = question.url
        # The evidence names the address that was asked for, wherever `connect_to` sends it.
        asked = str(wire)
        if settings.connect_to and wire.scheme != "http":
            wire = wire.with_scheme("http")
        try:
            async with session.request(
                question.method,
                wire,
                data=question.body,
                headers=question.headers,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                body = await read_whole(answer, settings.max_body_bytes)
                return Reply(answer.status, asked, answer.headers, body)
        except (aiohttp.ClientError, OSError) as error:
            raise UnansweredError(asked) from error

    return ApiClient(send)


async def address_of(
    session: aiohttp.ClientSession, host: str, port: int, limit_s: float
) -> str | None:
    """The address that a host is reached at, to know which hosts share one. None where that is not
    known, and with `connect_to`, where all share one and nobody minds."""
    resolver = getattr(session.connector, "resolver", None)
    if not isinstance(resolver, GuardedResolver):
        return None
    return await resolver.address_of(host, port, limit_s)


def user_agent(settings: FetchSettings, version: str) -> str:
    """An honest User-Agent, with a contact when there is one."""
    contact = f" (+{settings.contact})" if settings.contact else ""
    return f"pipeline/{version}{contact}"
