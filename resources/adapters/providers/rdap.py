"""RDAP: when and by whom a domain was registered, from the registry of its TLD. Free.

One look-up, no retries, no waiting; redirects are followed here, at most three, each through the
client and so through its address guard. What the registry withholds is no fact, and neither are
persons: a registrant counts only where it is an organisation.

Source: RFC 7480, 7484 (obsoleted by 9224, bootstrap), 9082 (queries), 9083 (answers), 9537
(redaction)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from yarl import URL

from resources.adapters.api_client import ApiClient, Reply
from resources.adapters.providers.rdap_record import candidate_of, is_domain_object
from resources.adapters.providers.replies import (
    StatusTable,
    failure_of,
    json_or_none,
    malformed,
)
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import Candidate, CompanyQuery, RawAnswer
from resources.core.ports import Clock
from resources.core.web_url import unreadable

BOOTSTRAP_URL: Final = "https://data.iana.org/rdap/dns.json"
MAX_REDIRECTS: Final = 3

NO_MATCH: Final = 404
STATUSES: StatusTable = MappingProxyType(
    {
        400: FailureKind.HTTP_4XX,
        401: FailureKind.HTTP_4XX,  # nobody has a key here: this registry answers members only
        403: FailureKind.HTTP_4XX,
        408: FailureKind.TIMEOUT,
        422: FailureKind.HTTP_4XX,
        429: FailureKind.RATE_LIMITED,
        501: FailureKind.HTTP_4XX,  # "not implemented" will not pass
    }
)
# Without the bootstrap file nothing is known about any domain, so no status may settle one.
BOOTSTRAP_STATUSES: StatusTable = MappingProxyType(
    {**dict.fromkeys(range(300, 500), FailureKind.HTTP_5XX), 429: FailureKind.RATE_LIMITED}
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {"Accept": "application/rdap+json, application/json;q=0.9"}


class Rdap:
    """Ask the registries.

    Args:
        client: Brings guard, pooling, time-outs and User-Agent.
        clock: The time of answers, and what HTTP-dates are counted from.
        base_url: One server for all domains; None: the TLD's server by IANA's bootstrap file.
        bootstrap_url: Where that file is; read once, at the first question.
        bootstrap_call: Passes the gate for reading that file.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Clock,
        base_url: str | None = None,
        bootstrap_url: str = BOOTSTRAP_URL,
        bootstrap_call: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._client = client
        self._clock = clock
        self._base_url = base_url
        self._bootstrap_url = bootstrap_url
        self._bootstrap_call = bootstrap_call
        self._servers: Mapping[str, str] | None = None
        self._lock = asyncio.Lock()

    @property
    def name(self) -> str:
        return "rdap"

    @property
    def is_paid(self) -> bool:
        return False

    @property
    def bulk_size(self) -> int:
        return 1

    async def endpoint(self, queries: Sequence[CompanyQuery]) -> str:
        """Return name and host: each registry is a service of its own."""
        base = self._base_url or _server_for(queries[0].domain, await self._bootstrap())
        return self.name if base is None else f"{self.name}/{_host_of(base)}"

    async def ask(self, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
        """Ask for one domain.

        Returns: the registry's answer, or "no match" where the domain is not registered or its TLD
            has no RDAP server.
        Raises: CallError when the call failed; the client's errors as they come.
        """
        if not queries:
            return {}
        if len(queries) > 1:
            raise ValueError("RDAP has no bulk question")
        domain = queries[0].domain
        base = self._base_url or _server_for(domain, await self._bootstrap())
        if base is None:
            return {domain: RawAnswer(None, self._bootstrap_url, self._clock.now())}
        reply = await self._follow(f"{base.rstrip('/')}/domain/{domain}")
        now, url = self._clock.now(), reply.url
        if reply.status == NO_MATCH:
            return {domain: RawAnswer(None, url, now)}
        if not reply.is_success:
            raise CallError(failure_of(self.name, reply, STATUSES, now))
        if not is_domain_object(json_or_none(reply.body)):
            raise malformed(self.name, "the answer is no RDAP domain object", url)
        return {domain: RawAnswer(reply.body, url, now)}

    def read(self, query: CompanyQuery, answer: RawAnswer) -> Sequence[Candidate]:
        """Read a kept answer: one candidate, whose domain is the registered one.

        Raises: CallError(MALFORMED) when the body is no RDAP domain object.
        """
        if answer.body is None:
            return ()
        data = json_or_none(answer.body)
        if not is_domain_object(data):
            raise malformed(self.name, "the kept answer is no RDAP domain object", answer.url)
        return (candidate_of(data, query, answer),)

    async def _bootstrap(self) -> Mapping[str, str]:
        """Return RDAP servers by TLD, fetched once; a failure is not kept."""
        async with self._lock:
            if self._servers is None:
                async with self._bootstrap_call():
                    self._servers = await self._read_bootstrap()
            return self._servers

    async def _read_bootstrap(self) -> Mapping[str, str]:
        reply = await self._follow(self._bootstrap_url)
        if not reply.is_success:
            now = self._clock.now()
            raise CallError(failure_of(self.name, reply, BOOTSTRAP_STATUSES, now))
        servers = _servers(json_or_none(reply.body))
        if not servers:
            message = f"{self.name}: the list of registries could not be read."
            raise CallError(
                Failure(FailureKind.HTTP_5XX, message, url=reply.url, provider=self.name)
            )
        return servers

    async def _follow(self, url: str) -> Reply:
        """Get a URL and follow redirects; the one too many is returned as it is, a 3xx."""
        target = url
        for _ in range(MAX_REDIRECTS):
            reply = await self._get(target)
            if reply.status not in _REDIRECTS:
                return reply
            followed = _target_of(reply)
            if followed is None:
                return reply
            target = followed
        return await self._get(target)

    async def _get(self, url: str) -> Reply:
        return await self._client.get(url, headers=_HEADERS)


def _target_of(reply: Reply) -> str | None:
    """Where a redirect leads to; None where that is no web address."""
    try:
        location = reply.headers["location"].strip(" ")
        if unreadable(location):
            return None
        target = urljoin(reply.url, location)
        return target if urlsplit(target).scheme in ("http", "https") else None
    except (KeyError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _host_of(url: str) -> str:
    return URL(url).host or ""


def _server_for(domain: str, servers: Mapping[str, str]) -> str | None:
    """Return the server of the longest suffix that has one (RFC 9224, section 4)."""
    name = domain
    while name:
        if name in servers:
            return servers[name]
        name = name.partition(".")[2]
    return None


def _servers(data: Any) -> Mapping[str, str]:
    """Read the bootstrap file: suffix to server, HTTPS before HTTP; empty when it is none."""
    services = data.get("services") if isinstance(data, dict) else None
    servers: dict[str, str] = {}
    for service in services if isinstance(services, list) else ():
        match service:
            case [[*suffixes], [*urls]]:
                texts = sorted(
                    (url for url in urls if isinstance(url, str) and url.startswith("http")),
                    key=lambda url: not url.startswith("https:"),
                )
                for suffix in suffixes:
                    if texts and isinstance(suffix, str):
                        servers[suffix.lower().strip(".")] = texts[0]
            case _:
                continue
    return servers
