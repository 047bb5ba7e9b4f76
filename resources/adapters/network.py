"""Tells our own network's trouble from the other side's: without it an outage of our resolver
would settle every domain of a list as "does not exist", and a wrong `connect_to` would use up all
their rounds."""

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
# The same where every connection goes to one address, and no name is resolved.
_SUSPICIOUS_AT_ONE_ADDRESS = {FailureKind.CONNECT, FailureKind.TIMEOUT}
# The verdict decides whether failures count for breakers, so neither may stand for long. What is
# down is asked for by every call that fails, and comes back in its own time; what is up may have
# gone down with the very next call.
DOWN_KEPT_S = 5.0
UP_KEPT_S = 2.0
LIMIT_S = 5.0


class NetworkCheck:
    """Checks, when a site cannot be reached, whether anything can be reached at all.

    Args:
        settings: `control_names`, any of which must resolve; with `connect_to` no name is ever
            resolved, and that one address must take a connection instead.
    """

    def __init__(self, settings: FetchSettings, clock: Clock) -> None:
        self._connect_to = settings.connect_to
        self._names = () if settings.connect_to else settings.control_names
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._is_down = False

    async def explain(self, error: CallError) -> CallError:
        """The same error, or LOCAL_NETWORK where the fault is ours."""
        kinds = _SUSPICIOUS_AT_ONE_ADDRESS if self._connect_to else _SUSPICIOUS
        if error.failure.kind not in kinds or not (self._names or self._connect_to):
            return error
        if not await self._network_is_down():
            return error
        return CallError(
            Failure(
                FailureKind.LOCAL_NETWORK,
                self._sentence(),
                error.failure.url,
                error.failure.provider,
            )
        )

    def _sentence(self) -> str:
        if self._connect_to:
            return (
                f"Nothing takes a connection at {self._connect_to}, where "
                "PIPELINE_FETCH__CONNECT_TO sends everything: start it, or mend the setting."
            )
        return (
            "This machine cannot resolve any name (not even "
            f"{self._names[0]}): its network or DNS is down."
        )

    async def _network_is_down(self) -> bool:
        async with self._lock:
            kept_s = DOWN_KEPT_S if self._is_down else UP_KEPT_S
            if self._clock.now() - self._checked_at > kept_s:
                if self._connect_to:
                    found = [await self._connects(self._connect_to)]
                else:
                    found = await asyncio.gather(*(self._resolves(name) for name in self._names))
                self._is_down = not any(found)
                self._checked_at = self._clock.now()
            return self._is_down

    async def _resolves(self, name: str) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.getaddrinfo(name, 443, type=socket.SOCK_STREAM), LIMIT_S)
        except (OSError, TimeoutError):
            return False
        return True

    async def _connects(self, address: str) -> bool:
        host, _, port = address.rpartition(":")
        # The connector reads "localhost" in the same way.
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        try:
            async with asyncio.timeout(LIMIT_S):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError):
            return False
        # Not closed in the usual way: that would wait for what the other side still says.
        writer.transport.abort()
        return True
