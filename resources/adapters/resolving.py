"""Names to addresses, past the guard: what must not be connected to is left out here already.

The connector asks again about the socket's own address before it connects (`connector`); this is
what makes a name with a public and a private address work, and what tells which hosts share one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver, ResolveResult

from resources.core.addresses import AddressPolicy

HANDED_OVER_WITHIN_S = 10.0
HOSTS_IN_MEMORY = 10_000
KEPT_S = 300.0


class BlockedAddressError(OSError):
    """The address must not be connected to. An OSError, because that is what connectors expect."""


class OneAddressResolver(AbstractResolver):
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


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer, and when it came, by the loop's clock."""

    addresses: list[ResolveResult]
    at: float


class GuardedResolver(AbstractResolver):
    """Leaves out addresses that must not be connected to, so that a name with a public and a
    private address is fetched from the public one, and one with private ones only is refused."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy
        self._first: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._handed_over: dict[tuple[str, int], _Found] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        ready = self._handed_over.pop((host, port), None)
        if ready is not None and time.monotonic() - ready.at < HANDED_OVER_WITHIN_S:
            return ready.addresses
        return await self._ask(host, port, family)

    async def address_of(self, host: str, port: int, limit_s: float) -> str | None:
        """The address that a host is reached at, as far as it is known or can be found in time.

        What was found for this is handed to the connection that follows: no name is looked up
        twice for it.

        Returns: None also where the name leads nowhere: the connection will tell why.
        """
        known = self._first.get(host)
        if known is not None and time.monotonic() - known[1] < KEPT_S:
            return known[0]
        try:
            async with asyncio.timeout(limit_s):
                found = await self._ask(host, port, socket.AF_UNSPEC)
        except (OSError, TimeoutError):
            return None
        if not found:
            return None
        if len(self._handed_over) >= HOSTS_IN_MEMORY:
            self._handed_over.clear()
        self._handed_over[host, port] = _Found(found, time.monotonic())
        return found[0]["host"]

    async def _ask(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        refusals = [self._policy.refusal(one["host"], one["port"]) for one in found]
        allowed = [one for one, why in zip(found, refusals, strict=True) if why is None]
        if found and not allowed:
            raise BlockedAddressError(f"{host}: {refusals[0]}")
        if allowed:
            self._first[host] = (allowed[0]["host"], time.monotonic())
            self._first.move_to_end(host)
            if len(self._first) > HOSTS_IN_MEMORY:
                self._first.popitem(last=False)
        return allowed

    async def close(self) -> None:
        await self._inner.close()
