"""Stands between the product and the sandbox and notes when each request came and was answered.

The sandbox counts, and tells no times; the product's own ledger is what a test wants to hold
against something else. One request a connection, passed on as it is, faults and all.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

from tests.support.processes import Sandbox
from tests.support.raw_server import Request, reset

PDL = "api.peopledatalabs.com"
_MOST_BYTES = 1 << 24


@dataclass
class Exchange:
    """One request and what was answered.

    Args:
        host: What it was sent to, without a port.
        at: When it had come, epoch seconds.
        body: What was sent along.
        status: Of the answer; None where there was none.
        answered_at: When the answer's head was here, before it was passed on.
        retry_after: The header of that name, as it came.
    """

    host: str
    target: str
    at: float
    body: bytes = b""
    status: int | None = None
    answered_at: float | None = None
    retry_after: str | None = None

    @property
    def domains(self) -> list[str]:
        """The domains that People Data Labs is asked for."""
        if not self.body:
            return parse_qs(urlsplit(self.target).query).get("website", [])
        requests = json.loads(self.body)["requests"]
        return [request["metadata"]["domain"] for request in requests]

    @property
    def not_before(self) -> float | None:
        """The time that the answer asked to wait for, epoch seconds."""
        if self.retry_after is None or self.answered_at is None:
            return None
        if self.retry_after.isdigit():
            return self.answered_at + float(self.retry_after)
        return parsedate_to_datetime(self.retry_after).timestamp()


@dataclass
class Recorder:
    """What was exchanged so far, in the order in which the requests came."""

    upstream: Sandbox
    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where to send requests, as `--sandbox-url` takes it."""
        return f"http://127.0.0.1:{self.port}"

    def to(self, host: str) -> list[Exchange]:
        """What was sent to one host, or to the same host with `www.`."""
        return [one for one in list(self.exchanges) if one.host.removeprefix("www.") == host]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on and its answer back."""
        with suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            _, target, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            host = headers.get("host", "").partition(":")[0]
            exchange = Exchange(host, target, time.time(), body)
            if not target.startswith("/_sandbox/"):
                self.exchanges.append(exchange)
            kept = [line for line in lines if not line.lower().startswith("connection:")]
            request = "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")
            await self._pass_on(request + body, exchange, reader, writer)
        writer.close()

    async def _pass_on(
        self,
        request: bytes,
        exchange: Exchange,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        address = self.upstream.url.removeprefix("http://")
        host, _, port = address.partition(":")
        answer, sender = await asyncio.open_connection(host, int(port), limit=_MOST_BYTES)
        sender.write(request)
        passing = asyncio.ensure_future(self._pass_back(answer, exchange, writer))
        gone = asyncio.ensure_future(reader.read())
        try:
            # Whoever gives up waiting closes the connection, and the sandbox must see that.
            await asyncio.wait({passing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passing.cancel()
            gone.cancel()
            sender.transport.abort()
            await asyncio.gather(passing, gone, return_exceptions=True)

    async def _pass_back(
        self, answer: asyncio.StreamReader, exchange: Exchange, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await answer.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            for name, _, value in (line.partition(":") for line in lines):
                if name.lower() == "retry-after":
                    exchange.retry_after = value.strip()
            exchange.answered_at = time.time()
            exchange.status = int(first.split(" ")[1])
            writer.write(head)
            while piece := await answer.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        except asyncio.IncompleteReadError:
            return  # it was closed without an answer
        except ConnectionResetError:
            await reset(Request("", "", {}), writer)


@contextmanager
def recorder(upstream: Sandbox) -> Iterator[Recorder]:
    """A recorder before a sandbox, on a free port and a thread of its own."""
    found = Recorder(upstream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="recorder", daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=_MOST_BYTES)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
