"""A request as the sandbox sees it and an answer as it will be written, before any fault.

An `Answer` is immutable and ready to send, so that a cache can hand the same one to everybody.
Only `Date` and `Connection` are left to the connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

_REASONS = {status.value: status.phrase for status in HTTPStatus}
JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `host` is lower-case and without its port, `path` without the query."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    `asked` are the domains an API was asked for, and `billed` those of them it bills when the
    answer has been sent whole.
    """

    status: int
    head: bytes
    body: tuple[bytes, ...]
    content_type: str
    asked: tuple[str, ...] = ()
    billed: tuple[str, ...] = ()


def make_answer(
    status: int,
    body: bytes | tuple[bytes, ...],
    content_type: str,
    headers: Mapping[str, str] | None = None,
    asked: tuple[str, ...] = (),
    billed: tuple[str, ...] = (),
) -> Answer:
    """Build an answer with its status line, headers and Content-Length."""
    parts = (body,) if isinstance(body, bytes) else body
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", "Server: sandbox"]
    if status not in (204, 304):
        lines.append(f"Content-Type: {content_type}")
        lines.append(f"Content-Length: {sum(map(len, parts))}")
    if headers:
        lines.extend(f"{name}: {value}" for name, value in headers.items())
    head = ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace")
    return Answer(status, head, parts, content_type, asked, billed)


def json_answer(status: int, content: Any, content_type: str = JSON) -> Answer:
    """Build an answer from anything orjson can write."""
    return make_answer(status, orjson.dumps(content), content_type)


def text_answer(status: int, text: str) -> Answer:
    """Build a plain-text answer."""
    return make_answer(status, text.encode(), TEXT)
