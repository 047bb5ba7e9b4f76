"""Tells our own network's trouble from the other side's: without it an outage of our resolver
would settle every domain of a list as "does not exist"."""

from __future__ import annotations

import asyncio
import socket

from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.ports import Clock

# What an outage of ours looks like, depending on whether the name was still known.
_SUSPICIOUS = {
    FailureKind.NO_SUCH_HOST,
    FailureKind.DNS,
    FailureKind.CONNECT,
    FailureKind.TIMEOUT,
}
KEPT_S = 20.0


class NetworkCheck:
    """Checks, when a site cannot be reached, whether any name resolves at all.

    Args:
        settings: `control_names`; with `connect_to` no name is ever resolved, nor checked.
    """

    def __init__(self, settings: FetchSettings, clock: Clock) -> None:
        self._names = () if settings.connect_to else settings.control_names
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._is_down = False

    async def explain(self, error: CallError) -> CallError:
        """The same error, or LOCAL_NETWORK where the fault is ours."""
        if error.failure.kind not in _SUSPICIOUS or not self._names:
            return error
        if not await self._network_is_down():
            return error
        return CallError(
            Failure(
                FailureKind.LOCAL_NETWORK,
                "This machine cannot resolve any name (not even "
                f"{self._names[0]}): its network or DNS is down.",
                error.failure.url,
                error.failure.provider,
            )
        )

    async def _network_is_down(self) -> bool:
        async with self._lock:
            if self._clock.now() - self._checked_at > KEPT_S:
                found = await asyncio.gather(*(self._resolves(name) for name in self._names))
                self._is_down = not any(found)
                self._checked_at = self._clock.now()
            return self._is_down

    async def _resolves(self, name: str) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.getaddrinfo(name, 443, type=socket.SOCK_STREAM), 5)
        except (OSError, TimeoutError):
            return False
        return True
