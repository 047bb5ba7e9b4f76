"""How much one answer may send us, counted in bytes as they come off the wire.

The limits of the HTTP client and of bodies count what they have understood. A server that is not
understood yet can still send for ever: "100 Continue" again and again, extensions of a chunk that
never end, or a megabyte as a million chunks of one byte. So the bytes themselves are counted, for
pages, robots.txt, sitemaps and provider answers alike.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

HEAD_BYTES = 262_144
"""Room for status line, headers and the frames around a body's pieces."""
MOST_INTERIM_ANSWERS = 8
_FIRST_FINAL_STATUS = 200


class WireLimitError(aiohttp.ClientError):
    """The other side sent more than one answer may take. The connection is cut."""


async def read_whole(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Read a body that the client unpacks, as far as it is not too large.

    Raises:
        WireLimitError: it unpacks to more than `most_bytes`.
    """
    parts = []
    size = 0
    while part := await answer.content.readany():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            answer.close()
            raise WireLimitError(f"the answer is larger than {most_bytes} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class _CountingHandler(ResponseHandler):
    """aiohttp's protocol, which cuts an answer off that goes on for too long.

    Args:
        most_bytes: Largest answer, headers and frames included.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        super().__init__(loop)
        self._most_bytes = most_bytes
        self._received_bytes = 0
        self._interim_answers = 0

    def set_response_params(self, **params: Any) -> None:
        """A new answer is awaited: begin to count."""
        self._received_bytes = 0
        self._interim_answers = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > self._most_bytes:
            self._cut(f"the answer takes more than {self._most_bytes} bytes on the wire")
            return
        super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A status line and its headers are there; what is below 200 announces another one."""
        if data[0].code < _FIRST_FINAL_STATUS:
            self._interim_answers += 1
            if self._interim_answers > MOST_INTERIM_ANSWERS:
                self._cut(
                    f"more than {MOST_INTERIM_ANSWERS} interim answers came before the answer"
                )
                return
        super().feed_data(data, size)

    def _cut(self, message: str) -> None:
        error = WireLimitError(message)
        if self._payload is not None:
            self._payload.set_exception(error)
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class BoundedConnector(aiohttp.TCPConnector):
    """aiohttp's connector, whose connections count what an answer sends.

    Args:
        most_body_bytes: Largest body; what surrounds it has a limit of its own beside that.
        options: As for `aiohttp.TCPConnector`.
    """

    def __init__(self, most_body_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self.resolver: AbstractResolver | None = options.get("resolver")
        self._factory = partial(  # type: ignore[assignment]  # of a subclass
            _CountingHandler, loop=self._loop, most_bytes=most_body_bytes + HEAD_BYTES
        )
