"""Servers for the corpus: nginx at full speed, and a slow one that answers after a fixed time."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.scraping.corpus import Corpus
from benchmarks.staging import served

_NGINX = """
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  log_format status '$status';
  access_log {root}/access.log status;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  client_body_temp_path {root}/tmp; proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp;
  uwsgi_temp_path {root}/tmp; scgi_temp_path {root}/tmp;
  default_type text/html;
  types {{ text/plain txt; text/html html; }}
  server {{
    listen 127.0.0.1:{port} default_server backlog=2048;
    server_name ~^(?:www\\.)?(?<site>[a-z0-9-]+)\\.;
    root {root}/$site;
    gzip_static on;
    etag on;
    location / {{ try_files $uri $uri.html $uri/index.html =404; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(corpus: Corpus) -> Iterator[int]:
    """Serve the corpus. Gives the port on 127.0.0.1."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        sys.exit(
            "nginx is needed for this benchmark: install it (Debian: apt install nginx-light)."
        )
    port = _free_port()
    configuration = corpus.root / "nginx.conf"
    configuration.write_text(_NGINX.format(root=corpus.root, port=port))
    command = [program, "-p", str(corpus.root), "-c", str(configuration)]
    process = subprocess.Popen(command)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def slow_server(corpus: Corpus, latency_s: float) -> AbstractContextManager[int]:
    """Serve the corpus, each answer after a time. Gives the port on 127.0.0.1."""
    return served(_serve_slowly, corpus, latency_s)


def _serve_slowly(told: Connection, corpus: Corpus, latency_s: float) -> None:
    answers: dict[tuple[str, str], bytes] = {}
    for path in corpus.root.glob("*/*.gz"):
        body = path.read_bytes()
        name = path.name.removesuffix(".html.gz")
        head = f"Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"
        answer = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body
        answers[path.parent.name, "/" if name == "index" else f"/{name}"] = answer
    robots = next(corpus.root.glob("*/robots.txt")).read_bytes()
    head = f"Content-Type: text/plain\r\nContent-Length: {len(robots)}"
    for host in corpus.hosts:
        answer = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + robots
        answers[host.partition(".")[0], "/robots.txt"] = answer
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    class Site(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport: Any = transport
            self._received = b""

        def data_received(self, data: bytes) -> None:
            self._received += data
            while b"\r\n\r\n" in self._received:
                request, _, self._received = self._received.partition(b"\r\n\r\n")
                lines = request.decode("latin-1").split("\r\n")
                path = lines[0].split(" ", 2)[1].partition("?")[0]
                hosts = [line[5:] for line in lines if line[:5].lower() == "host:"]
                site = hosts[0].strip().removeprefix("www.").partition(".")[0]
                answer = answers.get((site, path), missing)
                loop = asyncio.get_running_loop()
                loop.call_later(latency_s, self._send, answer)

        def _send(self, answer: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.write(answer)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Site, "127.0.0.1", 0, backlog=2048)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit("nginx did not start: see what it said above.")
