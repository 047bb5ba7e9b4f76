"""The process that extracts pages, one at a time; `extraction_pool` starts it and asks by socket.

A page's parser runs here and not in the worker that holds claims: a page that crashes or stalls it
costs that page alone, and the other core has something to do.

Frames: 4 bytes big-endian length, then that many bytes. A request is a JSON head frame and the body
as it was sent; the answer is a JSON frame, and the page in its JSON form as another one.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from resources.adapters.bodies import digest_of
from resources.adapters.inflate import BrokenEncodingError, TooLargeError, inflate
from resources.core.errors import FailureKind
from resources.core.extract import choose_pages, extract_page, to_json
from resources.core.site_forms import text_key

LENGTH = struct.Struct(">I")
# The number of links is what makes a page's result large, and only choosing pages needs them.
_NOT_KEPT = ("links", "file")


def answer(head: Mapping[str, Any], sent: bytes) -> tuple[bytes, bytes]:
    """Unpack and extract one page, and for a home page choose the further pages to fetch.

    Returns: what was found about the page, and the page, both as JSON.
    """
    try:
        body = inflate(sent, head["encoding"], head["most"])
    except (BrokenEncodingError, TooLargeError) as error:
        is_large = isinstance(error, TooLargeError)
        kind = FailureKind.TOO_LARGE if is_large else FailureKind.MALFORMED
        return orjson.dumps({"kind": kind, "message": str(error)}), b"null"
    page = extract_page(body, head["url"], head["content_type"], country=head["country"])
    choices = []
    if head["site"] is not None:
        choices = [
            {"url": choice.url, "kind": choice.kind, "score": choice.score, "reason": choice.reason}
            for choice in choose_pages(page, head["site"], limit=head["limit"])
        ]
    found = {
        "is_html": page.is_html,
        "choices": choices,
        "body_hash": digest_of(body),
        "size_bytes": len(body),
        "robots": page.robots,
        "language": page.language,
        "canonical": page.canonical,
        "text_key": text_key(page.text),
    }
    kept = to_json(page)
    for name in _NOT_KEPT:
        kept.pop(name, None)
    return orjson.dumps(found), orjson.dumps(kept)


def serve(connection: socket.socket, cpu_limit_s: float) -> None:
    """Answer until the other side closes.

    Args:
        cpu_limit_s: Most processor time for one page, seconds. The system ends the process at the
            limit, wherever it is: native code would not hear of it in any other way.
    """
    stream = connection.makefile("rwb")
    while (head := _read(stream)) is not None:
        sent = _read(stream)
        if sent is None:
            return
        signal.setitimer(signal.ITIMER_PROF, cpu_limit_s)
        frames = answer(orjson.loads(head), sent)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for frame in frames:
            stream.write(LENGTH.pack(len(frame)) + frame)
        stream.flush()


def _read(stream: Any) -> bytes | None:
    length = stream.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    data: bytes = stream.read(LENGTH.unpack(length)[0])
    return data


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2]))
