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
from aiohttp.abc import AbstractResolver, ResolveResult

from resources.adapters.api_client import ApiClient, Question, Reply, UnansweredError
from resources.adapters.permit import require_permit
from resources.adapters.wire_limits import BoundedConnector, read_whole
from resources.core.addresses import AddressPolicy
from resources.core.config import FetchSettings
from resources.core.errors import UsageError
from resources.core.robots_rules import MAX_BYTES as ROBOTS_BYTES

KEEPALIVE_S = 10.0
DNS_CACHE_S = 300


class BlockedAddressError(OSError):
    """The address must not be connected to. An OSError, because that is what connectors expect."""


class _OneAddressResolver(AbstractResolver):
    """Resolves every name to the one address of `connect_to`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        is_v6 = ":" in self._host
        return [
            ResolveResult(
                hostname=host,
                host=self._host,
                port=self._port,
                family=socket.AF_INET6 if is_v6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


class _GuardedResolver(AbstractResolver):
    """Leaves out addresses that must not be connected to, so that a name with a public and a
    private address is fetched from the public one, and one with private ones only is refused."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        refusals = [self._policy.refusal(one["host"], one["port"]) for one in found]
        allowed = [one for one, why in zip(found, refusals, strict=True) if why is None]
        if found and not allowed:
            raise BlockedAddressError(f"{host}: {refusals[0]}")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


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
        resolver = _OneAddressResolver(*_split(settings.connect_to))
    else:
        resolver = _GuardedResolver(resolver or aiohttp.DefaultResolver(), policy)
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


def user_agent(settings: FetchSettings, version: str) -> str:
    """An honest User-Agent, with a contact when there is one."""
    contact = f" (+{settings.contact})" if settings.contact else ""
    return f"pipeline/{version}{contact}"
