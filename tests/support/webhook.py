"""A webhook on loopback, as Apprise's `json://` talks to it: what came, and what it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Play = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Received:
    """One message."""

    path: str
    title: str
    body: str
    tone: str


@dataclass
class Webhook:
    """Where it is, what has come so far, and how it answers.

    Args:
        status: What it answers with; only what is answered with less than 300 was taken.
        play: Called with each request before it is answered; what raises `OSError` ends it.
    """

    port: int
    taken: list[Received] = field(default_factory=list)
    refused: list[Received] = field(default_factory=list)
    status: int = 200
    play: Play | None = None

    def url(self, path: str = "alerts") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.taken]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A running one, on a free port."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            one = Received(self.path, sent["title"], sent["message"], sent["type"])
            status = hook.status
            (hook.taken if status < 300 else hook.refused).append(one)
            try:
                if hook.play is not None:
                    hook.play(self)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            hook.refused.append(Received(self.path, "", "", "GET"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    server.daemon_threads = True
    hook = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
