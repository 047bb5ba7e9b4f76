"""Broken pages for fuzzing: real ones, mutated. The same seed gives the same pages."""

import gzip
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1_000_000
_FRAGMENTS: Final = (
    *(b"<", b">", b"</", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&", b"&#", b"&#x0;", b"\0", b'"'),
    *(b"<div>" * 300, b"</div>" * 300, b"<table><tr>" * 50, b"<p>" * 200, b"<font color=1>" * 50),
    *(b"<script>", b"</script>", b"<template>", b"<svg>", b"<select>", b"<textarea>", b"<title>"),
    *(b'<script type="application/ld+json">', b'{"@type":"Store","name":', b"[" * 500, b'"\\'),
    *(b" itemscope itemtype=Store ", b" itemprop=name ", b" typeof=Store ", b" property=name "),
    *(b" a=1" * 300, b"a@" * 200, b"+49 (0)30 " * 50, b"12345 City, " * 50, b"1 Main St, Aa, NY 1"),
    *(b" GmbH " * 50, b"HRB " * 50, b"VAT DE1" * 50, "©".encode() * 50, "株式会社".encode() * 50),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1b$B", b"\xc3\x28" * 50, b"\r\n" * 500),
    *(b"<meta charset=utf-16>", b"<meta charset=iso-2022-jp>", b"<base href='//['>", b"x" * 5_000),
    *(b"<a href='http://[::", b"<a href='mailto:%ff@", b"<a href='tel:+", b" " * 5_000),
)


def real_pages(data: Path) -> list[bytes]:
    """Return the HTML pages of the data folder, in one order everywhere."""
    plain = sorted((data / "business_pages").glob("*/*.html"))
    plain += sorted((data / "structured_data").rglob("*.html"))
    packed = sorted((data / "articles" / "html").glob("*.html.gz"))
    return [each.read_bytes() for each in plain] + [
        gzip.decompress(each.read_bytes()) for each in packed
    ]


def mutated(pages: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` pages, each a real one with one to eight mutations."""
    chance = random.Random(seed)
    for _ in range(count):
        page = bytearray(chance.choice(pages))
        for _ in range(chance.randint(1, 8)):
            _mutate(page, pages, chance)
            del page[MAX_BYTES:]
        yield bytes(page)


def _mutate(page: bytearray, pages: Sequence[bytes], chance: random.Random) -> None:
    start = chance.randrange(len(page) + 1)
    end = min(len(page), start + int(chance.expovariate(1 / 2_000)))
    match chance.randrange(7):
        case 0:  # Bytes flipped.
            for _ in range(min(len(page), chance.randint(1, 50))):
                page[chance.randrange(len(page))] = chance.randrange(256)
        case 1:  # A part lost.
            del page[start:end]
        case 2:  # A part repeated.
            page[start:start] = page[start:end] * chance.randint(1, 60)
        case 3:  # Cut off.
            del page[start:]
        case 4:  # A part of another page.
            other = chance.choice(pages)
            where = chance.randrange(len(other) + 1)
            page[start:start] = other[where : where + 5_000]
        case 5:  # Something hostile, also many times.
            page[start:start] = chance.choice(_FRAGMENTS) * chance.choice((1, 1, 5, 40))
        case _:  # One character instead of another throughout.
            one, other_byte = chance.choice(b"<>\"'/= &;-"), chance.choice(b"<>\"'/= &;-\0x")
            page[:] = page.replace(bytes([one]), bytes([other_byte]))
