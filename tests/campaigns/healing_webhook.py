"""A webhook on loopback that keeps the alerts it gets, as Apprise's `json://` sends them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Message:
    """One alert. `at` is epoch seconds."""

    at: float
    title: str
    text: str

    @property
    def words(self) -> str:
        """All of it in lower case."""
        return f"{self.title}\n{self.text}".lower()


class Webhook:
    """What has come so far, oldest first."""

    def __init__(self, port: int, messages: list[Message]) -> None:
        self.url = f"json://127.0.0.1:{port}/"
        self._messages = messages

    @property
    def messages(self) -> list[Message]:
        return list(self._messages)

    def about(self, words: Sequence[str], since: float = 0.0) -> list[Message]:
        """Messages that name one of these."""
        return [
            one
            for one in self.messages
            if one.at >= since and any(word in one.words for word in words)
        ]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A running one, on a free port."""
    messages: list[Message] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages.append(Message(time.time(), body.get("title", ""), body.get("message", "")))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Webhook(server.server_address[1], messages)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
