"""One client connection: parses requests, writes answers, keeps alive, and does faults on it.

aiohttp's parser and its base protocol for flow control are used without its server, since most
answers are ready at once, and a page then costs no task and no response object.
"""

import asyncio
import os
import socket
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Coroutine
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import StreamReader

from sandbox.answers import Answer, Request, text_answer
from sandbox.delivery import deliver
from sandbox.faults import Fault
from sandbox.internet import Internet

_MAX_BODY_BYTES = 4 << 20
_MAX_WAITING = 256
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(BaseProtocol):
    """Serves one TCP connection; requests on it are answered in order, one at a time."""

    __slots__ = ("_awaits_body", "_is_closing", "_is_head", "_live", "_task", "_waiting", "_world")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, world: Internet, live: "set[Connection]"
    ) -> None:
        super().__init__(loop)
        self._parser = HttpRequestParser(self, loop, 1 << 16, auto_decompress=False)
        self._world = world
        self._live = live
        self._waiting: deque[tuple[RawRequestMessage, StreamReader]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_head = False
        self._is_closing = False
        self._awaits_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._live.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._live.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        # After `Connection: close` nothing more is read but the rest of that request's body.
        if self._parser is None or (self._is_closing and not self._awaits_body):
            return
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except BadHttpMessage as error:
            self._is_closing = True
            self.send(text_answer(400, f"bad request: {error.message}"))
            self.close()
            return
        self._waiting.extend(messages)
        if is_upgraded or len(self._waiting) > _MAX_WAITING:
            self.close()
        elif self._task is None:
            self._advance()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._task is None:
            self._advance()

    def _advance(self) -> None:
        """Answer what is waiting until something has to be waited for."""
        while self._waiting and not self._paused and not self._is_closing:
            message, payload = self._waiting.popleft()
            self._is_head = message.method == "HEAD"
            self._is_closing = message.should_close
            if not payload.is_eof():
                self._awaits_body = True
                self._start(self._read_then_answer(message, payload))
                return
            pending = self._answer(message, payload.read_nowait() if payload.total_bytes else b"")
            if pending is not None:
                self._start(pending)
                return
            if self._is_closing:
                self.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or self.transport is None:
            return
        if task.exception() is not None:
            traceback.print_exception(task.exception(), file=sys.stderr)
            self.reset()
            return
        if self._is_closing:
            self.close()
        else:
            self._advance()

    async def _read_then_answer(self, message: RawRequestMessage, payload: StreamReader) -> None:
        if message.headers.get("Expect", "").lower() == "100-continue" and self.transport:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks, size = [], 0
        while chunk := await payload.readany():
            size += len(chunk)
            if size > _MAX_BODY_BYTES:
                self._is_closing = True
                self.send(text_answer(413, "the body is too large"))
                return
            chunks.append(chunk)
        self._awaits_body = False
        pending = self._answer(message, b"".join(chunks))
        if pending is not None:
            await pending

    def _answer(self, message: RawRequestMessage, body: bytes) -> Coroutine[Any, Any, None] | None:
        """Answer at once, or return what is still to be awaited."""
        request = _request(message, body)
        try:
            answer, api, seen, fault = self._world.answer(request)
        except Exception:  # noqa: BLE001 - a bug answers 500 and must not end the connection silently
            traceback.print_exc(file=sys.stderr)
            self.send(text_answer(500, "the sandbox has a bug; its stderr has the trace"))
            return None
        if fault is None:
            self.send(answer)
            return None
        return self._suffer(fault, api, seen, answer)

    async def _suffer(self, fault: Fault, api: str, request: Request, answer: Answer) -> None:
        await deliver(fault, api, request, answer, self)

    def send(self, answer: Answer) -> None:
        """Send the whole answer, and bill what it bills in the same breath."""
        if self.transport is None or self.transport.is_closing():
            return
        body = () if self._is_head else answer.body
        self.transport.writelines((answer.head, self._ending(), *body))
        self._world.count_billed(answer)

    def send_part(self, answer: Answer, body: bytes) -> None:
        """Send the head of an answer with only the beginning of its body."""
        self.send_more(answer.head + self._ending() + body)

    def send_more(self, body: bytes) -> None:
        """Send more of a body that was begun."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(body)

    def finish(self, answer: Answer) -> None:
        """Bill what the answer bills, its last byte having been sent."""
        if self.transport is not None and not self.transport.is_closing():
            self._world.count_billed(answer)

    def close(self) -> None:
        """Send what is buffered, then end the connection in order."""
        self._is_closing = True
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """End the connection by TCP RST."""
        self._is_closing = True
        if self.transport is None:
            return
        handle = self.transport.get_extra_info("socket")
        # The option belongs to the socket, not to the descriptor it is set by.
        with socket.socket(fileno=os.dup(handle.fileno())) as same_socket:
            same_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.transport.abort()

    def _ending(self) -> bytes:
        ending = _date_and_end(int(time.time()))
        return b"Connection: close\r\n" + ending if self._is_closing else ending


def _request(message: RawRequestMessage, body: bytes) -> Request:
    target = message.path
    if not target.startswith("/"):
        # The absolute form that a client sends to a proxy.
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    host = message.headers.get("Host", "").strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        host = name
    return Request(message.method, host.rstrip("."), path, query, message.headers, body)


@lru_cache(maxsize=2)
def _date_and_end(now: int) -> bytes:
    """Return the Date header and the empty line of a second."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n\r\n".encode()
