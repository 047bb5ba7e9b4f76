"""The process that extracts pages, one at a time; `extraction_pool` starts it and asks by socket.

A page's parser runs here and not in the worker that holds claims: a page that crashes or stalls it
costs that page alone, and the other core has something to do.

Frames: 4 bytes big-endian length, then that many bytes. A request is a JSON head frame and a body
frame; the answer is one JSON frame.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from resources.core.extract import choose_pages, extract_page, to_json

LENGTH = struct.Struct(">I")


def answer(head: Mapping[str, Any], body: bytes) -> bytes:
    """Extract one page, and for a home page choose the further pages to fetch."""
    page = extract_page(body, head["url"], head["content_type"], country=head["country"])
    choices = []
    if head["site"] is not None:
        choices = [
            {"url": choice.url, "kind": choice.kind, "score": choice.score, "reason": choice.reason}
            for choice in choose_pages(page, head["site"], limit=head["limit"])
        ]
    return orjson.dumps({"is_html": page.is_html, "choices": choices, "page": to_json(page)})


def serve(connection: socket.socket) -> None:
    """Answer until the other side closes."""
    stream = connection.makefile("rwb")
    while (head := _read(stream)) is not None:
        body = _read(stream)
        if body is None:
            return
        reply = answer(orjson.loads(head), body)
        stream.write(LENGTH.pack(len(reply)) + reply)
        stream.flush()


def _read(stream: Any) -> bytes | None:
    length = stream.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    data: bytes = stream.read(LENGTH.unpack(length)[0])
    return data


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
