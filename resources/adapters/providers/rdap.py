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

import httpx

from resources.adapters.providers.rdap_record import candidate_of, is_domain_object
from resources.adapters.providers.replies import (
    StatusTable,
    failure_of,
    json_or_none,
    malformed,
    public_url,
)
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import Candidate, CompanyQuery, RawAnswer
from resources.core.ports import Clock

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
        client: httpx.AsyncClient,
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
        Raises: CallError when the call failed; httpx's exceptions as they come.
        """
        if not queries:
            return {}
        if len(queries) > 1:
            raise ValueError("RDAP has no bulk question")
        domain = queries[0].domain
        base = self._base_url or _server_for(domain, await self._bootstrap())
        if base is None:
            return {domain: RawAnswer(None, self._bootstrap_url, self._clock.now())}
        response = await self._follow(f"{base.rstrip('/')}/domain/{domain}")
        now, url = self._clock.now(), public_url(response.request.url)
        if response.status_code == NO_MATCH:
            return {domain: RawAnswer(None, url, now)}
        if not response.is_success:
            raise CallError(failure_of(self.name, response, STATUSES, now))
        if not is_domain_object(json_or_none(response.content)):
            raise malformed(self.name, "the answer is no RDAP domain object", url)
        return {domain: RawAnswer(response.content, url, now)}

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
        response = await self._follow(self._bootstrap_url)
        if not response.is_success:
            now = self._clock.now()
            raise CallError(failure_of(self.name, response, BOOTSTRAP_STATUSES, now))
        servers = _servers(json_or_none(response.content))
        if not servers:
            message = f"{self.name}: the list of registries could not be read."
            url = public_url(response.request.url)
            raise CallError(Failure(FailureKind.HTTP_5XX, message, url=url, provider=self.name))
        return servers

    async def _follow(self, url: str) -> httpx.Response:
        """Get a URL and follow redirects; the one too many is returned as it is, a 3xx."""
        target: httpx.URL | str = url
        for _ in range(MAX_REDIRECTS):
            response = await self._get(target)
            if not response.has_redirect_location:
                return response
            try:
                target = response.url.join(response.headers["location"])
            except httpx.InvalidURL:
                return response
            if target.scheme not in ("http", "https"):
                return response
        return await self._get(target)

    async def _get(self, url: httpx.URL | str) -> httpx.Response:
        return await self._client.get(url, headers=_HEADERS, follow_redirects=False)


@lru_cache(maxsize=4096)
def _host_of(url: str) -> str:
    return httpx.URL(url).host


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
