"""`pipeline extract`: what is extracted from files of HTML, one JSON object a line."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from resources.core.errors import UsageError
from resources.core.extract import extract_page, to_json
from resources.core.extract.models import MAX_BODY_BYTES

STDIN = "-"
# A name that can't be taken for the company's: extraction compares names with the host.
UNKNOWN_URL = "https://address-not-given.example/"
_GZIP_MAGIC = b"\x1f\x8b"
DONE, BAD_INPUT = 0, 2


def extract(files: Sequence[Path], *, url: str | None) -> int:
    """Print one object for each file. Returns 2 when one of them could not be read, else 0.

    Args:
        files: HTML files, also gzipped; `-` for stdin.
        url: Address of the pages, to which links are joined.

    Raises:
        UsageError: the URL is none.
    """
    address = _checked(url)
    code = DONE
    for file in files:
        name = os.fsencode(file).decode("utf-8", errors="replace")
        try:
            body = _read(file)
        except (OSError, EOFError, zlib.error) as error:
            sys.stdout.flush()
            print(f"pipeline: {_sentence(name, error)}", file=sys.stderr, flush=True)
            code = BAD_INPUT
            continue
        sys.stdout.buffer.write(_line(to_json(extract_page(body, address), file=name)))
        sys.stdout.buffer.flush()
    return code


def _checked(url: str | None) -> str:
    if url is None:
        return UNKNOWN_URL
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise UsageError(f"--url {url!r} is no web address; write it as https://www.acme.com/.")
    return url


def _read(file: Path) -> bytes:
    """The file's content, unpacked, up to the size that extraction looks at."""
    if str(file) == STDIN:
        body = sys.stdin.buffer.read(MAX_BODY_BYTES)
        return _unpacked(body) if body.startswith(_GZIP_MAGIC) else body
    with file.open("rb") as stream:
        is_packed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        stream.seek(0)
        if not is_packed:
            return stream.read(MAX_BODY_BYTES)
        with gzip.open(stream) as unpacked:
            return unpacked.read(MAX_BODY_BYTES)


def _unpacked(body: bytes) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_BODY_BYTES)


def _sentence(name: str, error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return f"{name} does not exist; check the path."
        case IsADirectoryError():
            return f"{name} is a folder; give the HTML files in it."
        case EOFError() | zlib.error() | gzip.BadGzipFile():
            return f"{name} is no whole gzip file; pack it again, or give it unpacked."
        case OSError():
            reason = error.strerror or error
            return f"{name} cannot be read ({reason}); check the path and its permissions."
        case _:
            return f"{name} cannot be read ({error})."


def _line(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value) + b"\n"
    except TypeError:  # half of a surrogate pair, from an escape in the page's JSON
        return json.dumps(value).encode() + b"\n"
