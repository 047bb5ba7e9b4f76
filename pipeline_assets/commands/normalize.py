"""`pipeline normalize`: the registrable domain of each value, or why it has none.

Answers at once and line by line, so that it can stand in a pipe: nothing heavy is imported here.
What a domain is, is decided in `resources/core/domains.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import orjson

from resources.adapters.suffix_list import bundled_rules
from resources.core import domains
from resources.core.domains import NormalizedDomain, RejectedValue

MOST_LINE_BYTES = 1_000_000
_UNPRINTABLE = dict.fromkeys([*range(32), *range(127, 160)], " ")


def normalize(values: Sequence[str] | None, *, as_json: bool) -> int:
    """Print one line for each value, or for each line of stdin. Returns 0, whatever they are."""
    given = (_as_unicode(os.fsencode(value)) for value in values) if values else _lines()
    _answer(given, as_json=as_json)
    return 0


def _answer(values: Iterable[str], *, as_json: bool) -> None:
    suffixes = bundled_rules()
    out = sys.stdout.buffer
    for value in values:
        found = domains.normalize(value, suffixes)
        line = _as_json(value, found) if as_json else _as_text(value, found).encode()
        out.write(line + b"\n")
        out.flush()  # somebody may wait for this answer before sending the next line


def _as_json(value: str, found: NormalizedDomain | RejectedValue) -> bytes:
    if isinstance(found, NormalizedDomain):
        return orjson.dumps({"input": value, "domain": found.domain})
    return orjson.dumps({"input": value, "reason": found.reason, "detail": found.detail})


def _as_text(value: str, found: NormalizedDomain | RejectedValue) -> str:
    shown = value.translate(_UNPRINTABLE)
    if isinstance(found, NormalizedDomain):
        return f"{shown}\t{found.domain}"
    return f"{shown}\t-\t{found.reason}: {found.detail}"


def _lines() -> Iterator[str]:
    """Lines of stdin without their ends; what is beyond a megabyte of one line is dropped."""
    stdin = sys.stdin.buffer
    is_first = True
    while line := stdin.readline(MOST_LINE_BYTES):
        if not line.endswith(b"\n"):
            _skip_rest(stdin, line)
        text = _as_unicode(line.rstrip(b"\r\n"))
        yield text.removeprefix("\ufeff") if is_first else text
        is_first = False


def _skip_rest(stdin: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = stdin.readline(MOST_LINE_BYTES)


def _as_unicode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
