"""A server on loopback that answers byte for byte as the test says, mistakes and all.

It knows no HTTP beyond where a request ends; each path has a script of answers, the last of which
is repeated. Every answer ends its connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True)
class Request:
    """What was asked: the request line's parts, headers with lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def host(self) -> str:
        return self.headers.get("host", "")


Play = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
Step = bytes | Play


def reply(
    body: bytes = b"<html><title>x</title></html>",
    status: str = "200 OK",
    *,
    length: int | None = None,
    **headers: str,
) -> bytes:
    """A whole answer. `length` lies about the body's size; header names are given with `_`."""
    lines = {"Content-Type": "text/html; charset=utf-8", "Connection": "close"}
    lines["Content-Length"] = str(len(body) if length is None else length)
    lines |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, location=location)


async def hang(_request: Request, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def reset(_request: Request, writer: asyncio.StreamWriter) -> None:
    """Cut the connection with RST."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def then(first: bytes, play: Play) -> Play:
    """Send some bytes, then do something else."""

    async def both(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await play(request, writer)

    return both


def for_ever(head: bytes, piece: bytes) -> Play:
    """Send a piece again and again until the other side has had enough."""

    async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return flood


class RawServer:
    """Serves scripts on 127.0.0.1.

    Args:
        script: By path, or by `host/path` where two hosts differ; `*` for all others.
    """

    def __init__(
        self,
        script: Mapping[str, Step | Sequence[Step]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._script = {
            path: [steps] if isinstance(steps, bytes) or callable(steps) else list(steps)
            for path, steps in script.items()
        }
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0

    @property
    def paths(self) -> Counter[str]:
        return Counter(request.target for request in self.requests)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            request = Request(method, target, headers)
            self.requests.append(request)
            step = self._next(request)
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            else:
                await step(request, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _next(self, request: Request) -> Step:
        for name in (request.host + request.target, request.target, "*"):
            steps = self._script.get(name)
            if steps:
                return steps.pop(0) if len(steps) > 1 else steps[0]
        return reply(b"nothing here", "404 Not Found")
