"""What the platform costs per provider call: enrichment against the bare client, in one run.

Both ask the same server on loopback (a process of its own) for the same small JSON answers, with
the same number of calls in flight, on the same event loop implementation. The bare client is httpx
on its aiohttp transport, reading and parsing each answer. Enrichment is the real phase: claims,
breaker, limiter, a row before each call, validation, matching, kept answers and results in a
SQLite ledger with synced group commits. Rounds alternate, so that both see the same machine; how
much of a core each took, and how busy the machine was, is told with it.

    python -m benchmarks.enrichment_cost [--domains 4000] [--rounds 3] [--latency-ms 0]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import httpx
import orjson
import uvloop
from httpx_aiohttp import AiohttpTransport

from benchmarks.staging import served, take_in
from resources.core.config import load_settings
from resources.core.models import Phase
from resources.core.run_events import PassEnded
from resources.platform import Platform

IN_FLIGHT = 32


@dataclass(frozen=True)
class Round:
    """One round of one of the two.

    Args:
        calls_s: Calls a second.
        cores: Cores that this process kept busy meanwhile.
    """

    calls_s: float
    cores: float


def _timed(run: Callable[[], float]) -> Round:
    began, cpu_began = time.perf_counter(), time.process_time()
    calls_s = run()
    cpu_s = time.process_time() - cpu_began
    return Round(calls_s, cpu_s / (time.perf_counter() - began))


def _answer(domain: str) -> bytes:
    body = orjson.dumps(
        {
            "objectClassName": "domain",
            "ldhName": domain,
            "handle": f"{domain}-1",
            "status": ["active"],
            "events": [
                {"eventAction": "registration", "eventDate": "2009-04-01T00:00:00Z"},
                {"eventAction": "expiration", "eventDate": "2030-04-01T00:00:00Z"},
            ],
            "entities": [
                {
                    "objectClassName": "entity",
                    "roles": ["registrar"],
                    "vcardArray": ["vcard", [["fn", {}, "text", "Registrar Example Ltd"]]],
                }
            ],
        }
    )
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/rdap+json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    return head + body


class _Server(asyncio.Protocol):
    """Answers every GET with a small JSON object about the last part of its path."""

    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            answer = _answer(path.rpartition(b"/")[2].decode())
            if self.latency_s:
                loop = asyncio.get_running_loop()
                loop.call_later(self.latency_s, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _serve(told: Connection, latency_s: float) -> None:
    async def run() -> None:
        _Server.latency_s = latency_s
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def _bare(port: int, domains: list[str]) -> float:
    """Calls a second of the bare client."""

    async def run() -> float:
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            httpx.AsyncClient(transport=AiohttpTransport(client=session)) as client,
        ):
            left = iter(domains)

            async def work() -> None:
                for domain in left:
                    response = await client.get(f"http://127.0.0.1:{port}/domain/{domain}")
                    assert response.json()["ldhName"] == domain

            began = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
            return len(domains) / (time.perf_counter() - began)

    return uvloop.run(run())


def _enrichment(port: int, domains: list[str], home: Path) -> float:
    """Calls a second of the phase COMPANY_ENRICHMENT, from its first claim to its last commit."""
    settings = load_settings(
        home=home,
        chain=("rdap",),
        fetch={"connect_to": f"127.0.0.1:{port}", "allow_networks": ("127.0.0.0/8",)},
        providers={
            "rdap": {
                "base_url": f"http://127.0.0.1:{port}",
                "concurrency": IN_FLIGHT,
                "rate": 10_000,
                "burst": 10_000,
            }
        },
    )
    platform = Platform.open(settings)
    try:
        keys = take_in(platform, domains)
        began = time.perf_counter()
        ended = None
        events = platform.run_phase(Phase.COMPANY_ENRICHMENT, keys, run_id="bench", scope="bench")
        for event in events:
            ended = event
        seconds = time.perf_counter() - began
        assert isinstance(ended, PassEnded)
        assert not ended.unsettled, ended
        calls, _ = platform.ledger.calls.spent("bench")["rdap"]
        assert calls == len(domains), calls
    finally:
        platform.close()
    return calls / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--domains", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of every answer")
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PIPELINE_")]:
        del os.environ[name]
    # The bare client need not pay for what is loaded for the other one.
    gc.freeze()
    domains = [f"company-{number}.example" for number in range(asked.domains)]
    bare: list[Round] = []
    phase: list[Round] = []
    with served(_serve, asked.latency_ms / 1000) as port, tempfile.TemporaryDirectory() as folder:
        _bare(port, domains[:200])
        for number in range(asked.rounds):
            home = Path(folder) / str(number)
            bare.append(_timed(lambda: _bare(port, domains)))
            phase.append(_timed(lambda home=home: _enrichment(port, domains, home)))  # type: ignore[misc]
            print(f"round {number + 1}: {_told(bare[-1:], phase[-1:])}")
    print(
        f"median: {_told(bare, phase)} ({asked.domains} domains, {IN_FLIGHT} in flight, "
        f"answers after {asked.latency_ms:g} ms; load of the machine {os.getloadavg()[0]:.1f}, "
        f"{os.cpu_count()} cores)"
    )


def _told(bare: Sequence[Round], phase: Sequence[Round]) -> str:
    ratio = statistics.median(p.calls_s / b.calls_s for p, b in zip(phase, bare, strict=True))
    told = (
        f"{name} {statistics.median(one.calls_s for one in rounds):.0f} calls/s "
        f"on {statistics.median(one.cores for one in rounds):.2f} cores"
        for name, rounds in (("bare client", bare), ("enrichment", phase))
    )
    return f"{', '.join(told)}, ratio {ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main())
