"""The permit to call: without one, the session sends nothing.

Whoever calls out asks the gate first (`call_gate.CallGate.call`), which checks breaker and pace and
hears how the call ended. A path that forgets to ask does not get around them: its request is
refused here, before a connection is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp

from resources.core.errors import Failure
from resources.core.pacing import PaceLimits


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What fails as one and is paced as one: a provider (or one of its servers), or a site's host.

    Args:
        key: Its name in the ledger and in messages: `pdl`, `rdap/rdap.nic.example`,
            `site/acme.example`.
        provider: Whose calls they are; None for a site.
        limits: A provider's pace; None for a site.
        connections: Calls in flight to a site's host at a time.
        address: Where a site's host is reached, if that is known: hosts that share an address share
            its connections.
    """

    key: str
    provider: str | None = None
    limits: PaceLimits | None = None
    connections: int = 1
    address: str | None = None

    @property
    def name(self) -> str:
        """As people call it."""
        return self.key.removeprefix(SITE_PREFIX)


SITE_PREFIX = "site/"


def site_endpoint(host: str, connections: int, address: str | None = None) -> Endpoint:
    """The endpoint of a site's host."""
    key = f"{SITE_PREFIX}{host.lower()[:280]}"
    return Endpoint(key, connections=connections, address=address)


@dataclass(slots=True)
class Permit:
    """The right to make one call, and what was heard in its answers.

    Args:
        endpoint: Which one.
        probe_until: Of the one call that tries whether the endpoint is back: when it is taken for
            lost, epoch seconds. None for all other calls.
        limit_headers: Of the newest answer, names in lower case; only those about limits.
        failure: What an answer complained of without failing as a whole.
        is_unused: Nothing was sent in the end, so that nothing is known of the endpoint.
        is_over: The call has ended; a task that outlives it must not send under its permit.
    """

    endpoint: Endpoint
    probe_until: float | None = None
    limit_headers: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    is_unused: bool = False
    is_over: bool = False

    @property
    def is_probe(self) -> bool:
        """Whether this is the one call that tries whether the endpoint is back."""
        return self.probe_until is not None

    def heard(self, headers: Mapping[str, str]) -> None:
        """Keep what an answer says about limits."""
        for name, value in headers.items():
            if "limit" in name.lower():
                self.limit_headers[name.lower()] = value


class UnpermittedCallError(RuntimeError):
    """A mistake of ours: something called out without asking the gate."""


_current: ContextVar[Permit | None] = ContextVar("permit", default=None)


def current_permit() -> Permit | None:
    """The permit under which this task runs."""
    return _current.get()


class holding:
    """Run a block under a permit."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit

    def __enter__(self) -> Permit:
        self._token = _current.set(self._permit)
        return self._permit

    def __exit__(self, *_: object) -> None:
        self._permit.is_over = True
        _current.reset(self._token)


async def require_permit(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Session middleware: let a request pass under a permit only, and hear what it brings."""
    permit = _current.get()
    if permit is None or permit.is_over:
        raise UnpermittedCallError(
            f"{request.url.host} was called without asking the gate: use CallGate.call around it"
        )
    response = await handler(request)
    permit.heard(response.headers)
    return response
