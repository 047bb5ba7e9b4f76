"""What a hostile server sends, byte for byte, and a thread of its own to send it from.

The server's work is not the client's: with both in one thread nobody could say what an attack
costs the one that is attacked.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import brotli
import zstandard
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.raw_server import (
    Play,
    RawServer,
    Request,
    Step,
    for_ever,
    hang,
    redirect,
    reply,
    reset,
    then,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BIG_BYTES = 200_000_000


@dataclass(frozen=True)
class Cost:
    """What an attack cost the thread that was attacked, and the whole process at its peak."""

    cpu_s: float
    memory_bytes: int
    wall_s: float


def _drip(head: bytes, piece: bytes) -> Play:
    async def play(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    return play


@cache
def _zeros() -> bytes:
    return bytes(BIG_BYTES)


@cache
def gzip_bomb() -> bytes:
    return gzip.compress(_zeros(), 6)


@cache
def deflate_bomb() -> bytes:
    return zlib.compress(_zeros(), 6)


@cache
def brotli_bomb() -> bytes:
    packed: bytes = brotli.compress(_zeros(), quality=5)
    return packed


@cache
def zstd_bomb() -> bytes:
    return zstandard.compress(_zeros())


@cache
def nested_bomb() -> bytes:
    return gzip.compress(gzip.compress(gzip_bomb(), 9), 9)


def _packed(body: bytes, encoding: str) -> bytes:
    return reply(body, content_encoding=encoding)


@cache
def floods() -> Mapping[str, Step]:
    """Answers that never end, or end in more than anybody can take: `too_large` or the like."""
    return MappingProxyType(
        {
            "endless body": for_ever(HEAD + b"\r\n", b"x" * 65_536),
            "endless chunks": for_ever(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
            "chunks of one byte": for_ever(CHUNKED, b"1\r\nx\r\n" * 10_000),
            "endless chunk extension": for_ever(CHUNKED + b"1;a=", b"x" * 65_536),
            "endless chunk size": for_ever(CHUNKED, b"0" * 65_536),
            "endless trailers": for_ever(CHUNKED + b"0\r\n", b"X-Trailer: x\r\n" * 4_000),
            "endless headers": for_ever(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n" * 5_000),
            "endless header": for_ever(b"HTTP/1.1 200 OK\r\nX-More: ", b"x" * 65_536),
            "endless header name": for_ever(b"HTTP/1.1 200 OK\r\n", b"x" * 65_536),
            "endless folded header": for_ever(
                b"HTTP/1.1 200 OK\r\nX: y\r\n", b" folded\r\n" * 4_000
            ),
            "endless status line": for_ever(b"HTTP/1.1 200 ", b"x" * 65_536),
            "endless garbage": for_ever(b"", b"\x16\x03\x01\x02garbage" * 4_000),
            "endless line ends": for_ever(b"", b"\r\n" * 30_000),
            "endless interim answers": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
            "early hints for ever": for_ever(
                b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 1_000
            ),
            "a length of terabytes": for_ever(
                HEAD + b"Content-Length: 9999999999999\r\n\r\n", b"x" * 65_536
            ),
        }
    )


@cache
def bombs() -> Mapping[str, Step]:
    """Bodies that are small on the wire and huge once unpacked."""
    empty = gzip.compress(b"")
    return MappingProxyType(
        {
            "gzip bomb": _packed(gzip_bomb(), "gzip"),
            "deflate bomb": _packed(deflate_bomb(), "deflate"),
            "brotli bomb": _packed(brotli_bomb(), "br"),
            "zstd bomb": _packed(zstd_bomb(), "zstd"),
            "nested gzip bomb": _packed(nested_bomb(), "gzip, gzip, gzip"),
            "gzip in brotli": _packed(brotli.compress(gzip_bomb(), quality=5), "gzip, br"),
            "concatenated gzip bomb": _packed(gzip_bomb() * 20, "gzip"),
            "a hundred thousand empty gzip parts": _packed(empty * 100_000, "gzip"),
            "encodings without end": _packed(b"x", ", ".join(["gzip"] * 1_000)),
            "endless gzip": for_ever(
                HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"x" * 65_536)
            ),
            "endless padding after gzip": for_ever(
                HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x"), b"\0" * 65_536
            ),
        }
    )


@cache
def breaks() -> Mapping[str, Step]:
    """Answers that stop, break off, or are none."""
    whole = gzip.compress(b"<p>hello</p>" * 1_000)
    return MappingProxyType(
        {
            "nothing at all": hang,
            "slow headers": _drip(b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
            "a header byte by byte": _drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
            "a body byte by byte": _drip(HEAD + b"\r\n", b"x"),
            "chunks byte by byte": _drip(CHUNKED, b"1\r\nx\r\n"),
            "reset at once": reset,
            "reset in the body": then(HEAD + b"Content-Length: 500\r\n\r\nhalf", reset),
            "short body": reply(b"half", length=500),
            "cut chunks": CHUNKED + b"ffff\r\nhalf",
            "truncated gzip": _packed(whole[:-30], "gzip"),
            "truncated gzip header": _packed(whole[:5], "gzip"),
            "no gzip at all": _packed(b"no gzip at all", "gzip"),
            "no brotli at all": _packed(b"no brotli at all", "br"),
            "no zstd at all": _packed(b"no zstd at all", "zstd"),
            "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nhalf!",
            "length and chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n")
            + b"0\r\n\r\n",
            "a negative chunk": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
            "a huge chunk size": CHUNKED + b"ffffffffffffffffff\r\nx",
            "another protocol": b"220 mail.example ESMTP\r\n",
            "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
            "version nine": b"HTTP/9.9 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 1\r\n\r\nx",
            "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
            b"Connection: upgrade\r\n\r\n" + b"x" * 5_000,
        }
    )


@cache
def redirects() -> Mapping[str, Step]:
    """Redirects to where nobody should go; all but the circles name the target themselves."""
    targets = {
        "loopback": "http://127.0.0.2/",
        "loopback by name": "http://localhost.attack.example/",
        "metadata": "http://169.254.169.254/latest/meta-data/",
        "mapped": "http://[::ffff:127.0.0.2]/",
        "NAT64": "http://[64:ff9b::7f00:2]/",
        "6to4": "http://[2002:7f00:2::1]/",
        "private": "http://10.0.0.1/",
        "shared": "http://100.64.0.1/",
        "nowhere": "http://0.0.0.0/",
        "a number": "http://2130706434/",
        "octal": "http://0177.0.0.2/",
        "hex": "http://0x7f000002/",
        "file": "file:///etc/passwd",
        "gopher": "gopher://127.0.0.2:6379/_FLUSHALL",
        "FTP": "ftp://127.0.0.2/",
        "data": "data:text/html,<p>inner</p>",
        "another port": "http://inner.attack.example:6379/",
        "user info": "http://acme.example@127.0.0.2/",
        "a backslash": "http:\\\\127.0.0.2\\",
        "a tab": "http://127.0.\t0.2/",
        "a new line": "http://127.0.0.2/\x0bX: y",
        "circle": "/circle",
    }
    return MappingProxyType({name: redirect(target) for name, target in targets.items()})


class InnerResolver(AbstractResolver):
    """What an attacker's name server says: every name is the machine next to us."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.2",
                port=port,
                family=family or socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


class _Thread(threading.Thread):
    """Runs a server in a loop of its own."""

    def __init__(self, script: Mapping[str, Step | Sequence[Step]]) -> None:
        super().__init__(name="attacker", daemon=True)
        self.server = RawServer(script)
        self.is_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with self.server:
            self.is_up.set()
            await self._is_over.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self.join(30)


@contextmanager
def attacker(script: Mapping[str, Step | Sequence[Step]]) -> Iterator[RawServer]:
    """A server in a thread of its own."""
    thread = _Thread(script)
    thread.start()
    assert thread.is_up.wait(30)
    try:
        yield thread.server
    finally:
        thread.stop()


class Meter:
    """Measures this thread's processor time, and the most memory that the process held."""

    def __enter__(self) -> Meter:
        # The kernel's high-water mark is set back to what is held now (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _peak_bytes()
        self._cpu = time.thread_time()
        self._wall = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.cost = Cost(
            time.thread_time() - self._cpu,
            _peak_bytes() - self._before,
            time.monotonic() - self._wall,
        )


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this kernel tells no VmHWM")
