"""Extraction in processes of its own: `extract` from an event loop, one page per process at a time.

Because each process holds one page, its death or delay says which page did it: that page is
`malformed`, the process is replaced, and nothing else is lost.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import orjson

from resources.adapters.extraction_worker import LENGTH
from resources.core.errors import CallError, Failure, FailureKind

PAGE_CPU_S = 2.0
# For what waits without using the processor; a busy machine may need long for two seconds of it.
PAGE_LIMIT_S = 60.0
# Answers are read whole: to stop and go on with each 64 KiB would cost more than reading them.
BUFFERED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the process made of a page.

    Args:
        is_html: Whether it is a web page at all.
        choices: For a home page, the further pages to fetch: `url`, `kind`, `score`, `reason`.
        body_hash: Of the body, unpacked; see `bodies.digest_of`.
        size_bytes: Of the body, unpacked.
        robots: What its robots meta tags say, by comma.
        language: ISO code, where it is known.
        canonical: The address that it gives itself.
        text_key: What is the same for the same main text; see `core/site_forms`.
        page_json: The page in its JSON form, without its links.
    """

    is_html: bool
    choices: list[dict[str, Any]]
    body_hash: str
    size_bytes: int
    robots: str | None
    language: str | None
    canonical: str | None
    text_key: str | None
    page_json: bytes

    @property
    def page(self) -> dict[str, Any]:
        """The page in its JSON form."""
        page: dict[str, Any] = orjson.loads(self.page_json)
        return page


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page to extract.

    Args:
        sent: Its body as it was sent.
        encoding: Its content encodings; see `bodies.Place`.
        url: Where it came from, after redirects.
        content_type: The header, if there was one.
        country: Of the company, where known.
        site: For a home page, the site whose further pages are chosen.
        limit: Most pages to choose.
    """

    sent: bytes
    encoding: str
    url: str
    content_type: str | None
    country: str | None = None
    site: str | None = None
    limit: int = 0


class _Process:
    """One extraction process and the socket to it."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, cpu_limit_s: float) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            child = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [
                    sys.executable,
                    "-m",
                    "resources.adapters.extraction_worker",
                    str(theirs.fileno()),
                    str(cpu_limit_s),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Its own group: Ctrl-C ends the run, and the run ends it, by closing the socket.
                process_group=0,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=BUFFERED_BYTES)
        return cls(child, reader, writer)

    async def ask(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        self._writer.write(b"".join((LENGTH.pack(len(head)), head, LENGTH.pack(len(body)), body)))
        await self._writer.drain()
        return await self._frame(), await self._frame()

    async def _frame(self) -> bytes:
        length = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))[0]
        return await self._reader.readexactly(length)

    def kill(self) -> None:
        self._writer.close()
        self._child.kill()
        self._child.wait()

    def has_hit_its_limit(self) -> bool:
        """Whether the system ended the process because of the time a page took."""
        return self._child.wait() == -signal.SIGPROF


class ExtractionPool:
    """A few extraction processes. Use as an asynchronous context manager, within one loop.

    Args:
        size: Processes.
        most_bytes: Largest page taken, unpacked.
        page_limit_s: Longest time for one page.
        page_cpu_s: Most processor time for one page, seconds.
    """

    def __init__(
        self,
        size: int,
        most_bytes: int,
        page_limit_s: float = PAGE_LIMIT_S,
        page_cpu_s: float = PAGE_CPU_S,
    ) -> None:
        self._page_cpu_s = page_cpu_s
        self._size = size
        self._most_bytes = most_bytes
        self._page_limit_s = page_limit_s
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()

    async def __aenter__(self) -> ExtractionPool:
        for _ in range(self._size):
            await self._add()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for process in self._all:
            process.kill()
        self._all.clear()

    async def extract(self, wanted: Wanted) -> Extracted:
        """Unpack and extract a page.

        Raises:
            CallError: MALFORMED, when the page crashed its process, took too long or is not
                encoded as it says; TOO_LARGE.
        """
        url = wanted.url
        head = orjson.dumps(
            {
                "url": url,
                "content_type": wanted.content_type,
                "country": wanted.country,
                "site": wanted.site,
                "limit": wanted.limit,
                "encoding": wanted.encoding,
                "most": self._most_bytes,
            }
        )
        process = await self._free.get()
        try:
            async with asyncio.timeout(self._page_limit_s):
                reply, page = await process.ask(head, wanted.sent)
        except TimeoutError:
            await self._replace(process)
            message = f"extracting the page took longer than {self._page_limit_s:g} s"
            raise CallError(Failure(FailureKind.MALFORMED, message, url)) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            message = "the page crashed the process that extracts it"
            await self._replace(process)
            if process.has_hit_its_limit():
                message = (
                    f"extracting the page took more than {self._page_cpu_s:g} s of processor time"
                )
            raise CallError(Failure(FailureKind.MALFORMED, message, url)) from None
        except BaseException:
            # Cancelled in the middle of a frame: what follows on this socket would be garbage.
            await asyncio.shield(self._replace(process))
            raise
        self._free.put_nowait(process)
        found = orjson.loads(reply)
        if "kind" in found:
            raise CallError(Failure(FailureKind(found["kind"]), found["message"], url))
        return Extracted(**found, page_json=page)

    async def _add(self) -> None:
        process = await _Process.start(self._page_cpu_s)
        self._all.add(process)
        self._free.put_nowait(process)

    async def _replace(self, process: _Process) -> None:
        self._all.discard(process)
        process.kill()
        await self._add()
