"""A process of its own that calls one provider over and over, through the real gate and client.

    python -m tests.support.calling_process DATABASE_URL HOST:PORT NAME TIMEOUT_S RATE PAUSE_S

It says "ready" when it is loaded and opens the ledger only when it is told to go on, so that many
of them begin together. It ends when its standard input ends, and so with whoever started it, and
says then how many of its calls were answered, failed, or were not let out.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from resources.adapters.api_client import ApiClient
from resources.adapters.call_gate import CallGate
from resources.adapters.clock import SystemClock
from resources.adapters.connector import guarded_client, guarded_session
from resources.adapters.permit import Endpoint
from resources.adapters.providers.replies import failure_of
from resources.core.breaker import BreakerPolicy
from resources.core.config import FetchSettings
from resources.core.errors import CallError, FailureKind
from resources.core.pacing import PaceLimits
from tests.support.gates import gate_on
from tests.support.ledgers import open_at
from tests.support.requirements import ROOT

MODULE = "tests.support.calling_process"
ENDPOINT = "pdl"
THRESHOLD = 3
CALLERS = 4
URL = "http://api.provider.example/"


class CallingProcess:
    """Started by a test; `begin` lets it go on, `end` asks how it went. Use as a context manager.

    Args:
        pause_s: Seconds that each of its `CALLERS` waits between two calls.
    """

    def __init__(
        self,
        database_url: str,
        server: str,
        name: str,
        *,
        breaker_timeout_s: float,
        rate: float = 500.0,
        pause_s: float = 0.02,
    ) -> None:
        self.name = name
        self._arguments = [database_url, server, name, str(breaker_timeout_s), str(rate)]
        self._arguments.append(str(pause_s))

    @asynccontextmanager
    async def started(self) -> AsyncIterator[CallingProcess]:
        """Run it until the block ends; it is dead then in any case."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            yield self
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def ready(self) -> None:
        """Wait until it is loaded."""
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n"

    def begin(self) -> None:
        """Let it open the ledger and call."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def end(self) -> Counter[str]:
        """Let it end; what became of its calls."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        out, _ = await asyncio.wait_for(self._process.communicate(), 30)
        assert self._process.returncode == 0, out
        return Counter(json.loads(out))


async def _call_on(
    gate: CallGate,
    client: ApiClient,
    endpoint: Endpoint,
    name: str,
    pause_s: float,
    seen: Counter[str],
) -> None:
    clock = SystemClock()
    while True:
        try:
            async with gate.call(endpoint):
                reply = await client.get(URL, headers={"X-Caller": name})
                if not reply.is_success:
                    table = {429: FailureKind.RATE_LIMITED}
                    raise CallError(failure_of(ENDPOINT, reply, table, clock.now()))
            seen["answered"] += 1
        except CallError as error:
            seen[error.failure.kind] += 1
        await asyncio.sleep(pause_s)


async def _run(arguments: Sequence[str]) -> Counter[str]:
    database_url, server, name, breaker_timeout_s, rate, pause_s = arguments
    settings = FetchSettings(connect_to=server, allow_networks=("127.0.0.0/8",), control_names=())
    limits = PaceLimits(rate=float(rate), burst=max(1.0, float(rate) / 10), concurrency=64)
    policy = BreakerPolicy(threshold=THRESHOLD, timeout_s=float(breaker_timeout_s), probe_s=10.0)
    endpoint = Endpoint(ENDPOINT, provider=ENDPOINT, limits=limits)
    seen: Counter[str] = Counter()
    ledger = open_at(database_url)
    async with (
        guarded_session(settings, "test") as session,
        gate_on(ledger, policy=policy, settings=settings, refresh_s=0.25) as gate,
    ):
        client = guarded_client(settings, session)
        calls = _call_on(gate, client, endpoint, name, float(pause_s), seen)
        callers = [asyncio.ensure_future(calls)]
        for _ in range(CALLERS - 1):
            calls = _call_on(gate, client, endpoint, name, float(pause_s), seen)
            callers.append(asyncio.ensure_future(calls))
        ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        # A mistake in a caller ends the process with it, instead of being lost.
        done, _ = await asyncio.wait({ended, *callers}, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    ledger.close()
    return seen


def main() -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(_run(sys.argv[1:]))), flush=True)


if __name__ == "__main__":
    main()
