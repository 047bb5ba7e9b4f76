"""Compressed bodies: whole or broken, never silently short, never larger than asked for."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from resources.adapters.inflate import (
    MOST_MEMBERS,
    PIECE_BYTES,
    BrokenEncodingError,
    Inflater,
)
from tests.support.requirements import shared_data

MOST_PIECE_BYTES = 2_097_152


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstandard.compress,
}


def _inflate(encoding: str | None, data: bytes, step: int = 1 << 20) -> bytes:
    inflater = Inflater(encoding)
    parts = []
    for start in range(0, len(data), step):
        for piece in inflater.feed(data[start : start + step]):
            assert len(piece) <= MOST_PIECE_BYTES or encoding is None
            parts.append(piece)
    inflater.finish()
    return b"".join(parts)


@given(
    body=st.binary(max_size=3000) | st.binary(max_size=30).map(lambda part: part * 9000),
    encodings=st.lists(st.sampled_from(sorted(PACKERS)), max_size=3),
    step=st.integers(1, 5000),
)
def test_what_was_packed_is_unpacked_however_it_arrives(
    body: bytes, encodings: list[str], step: int
) -> None:
    packed = body
    for name in encodings:
        packed = PACKERS[name](packed)
    assert _inflate(", ".join(encodings) or None, packed, step) == body


@given(
    body=st.binary(min_size=1, max_size=2000),
    name=st.sampled_from(["gzip", "deflate", "br", "zstd"]),
    data=st.data(),
)
def test_a_body_that_was_cut_off_is_broken(body: bytes, name: str, data: st.DataObject) -> None:
    packed = PACKERS[name](body)
    end = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(BrokenEncodingError):
        _inflate(name, packed[:end])


@given(st.binary(max_size=500), st.sampled_from(["gzip", "deflate", "gzip, deflate", "br", "zstd"]))
def test_nonsense_is_broken_and_nothing_else_happens(body: bytes, name: str) -> None:
    with suppress(BrokenEncodingError):
        _inflate(name, body)


def test_deflate_without_its_header_is_understood() -> None:
    assert _inflate("deflate", _raw_deflate(b"x" * 500)) == b"x" * 500


@pytest.mark.parametrize("encoding", [None, "", "identity", "utf-8", "none"])
def test_a_plain_body_stays_as_it_is(encoding: str | None) -> None:
    assert _inflate(encoding, b"\x1f\x8b plain") == b"\x1f\x8b plain"


def test_no_body_at_all_is_whole() -> None:
    assert _inflate("gzip", b"") == b""


def test_parts_of_a_body_are_joined_and_padding_after_them_is_ignored() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    assert _inflate("gzip", packed) == b"one two"
    assert _inflate("gzip", packed + b"\0" * 500) == b"one two"
    assert _inflate("gzip", packed + b"\0" * 500, step=1) == b"one two"


def test_a_body_of_very_many_empty_parts_is_broken() -> None:
    with pytest.raises(BrokenEncodingError, match="parts"):
        _inflate("gzip", gzip.compress(b"") * (MOST_MEMBERS + 1))


@pytest.mark.parametrize("encoding", ["compress", "gzip, dcb", "gzip, gzip, gzip, gzip"])
def test_encodings_that_nothing_unpacks_are_broken(encoding: str) -> None:
    with pytest.raises(BrokenEncodingError):
        Inflater(encoding)


def test_a_bomb_is_unpacked_only_as_far_as_somebody_takes_it() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 300_000_000, 9), 9)
    taken = 0
    for piece in Inflater("gzip, gzip").feed(bomb):
        taken += len(piece)
        if taken > 1_000_000:
            break
    assert 1_000_000 < taken <= 1_000_000 + PIECE_BYTES


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("html-gzip.bin", "gzip"),
        ("html-zlibdeflate.bin", "deflate"),
        ("html-rawdeflate.bin", "deflate"),
        ("html-gzip-deflate.bin", "gzip, deflate"),
        ("html-gzip-deflate-gzip.bin", "gzip, deflate, gzip"),
        ("html-br.bin", "br"),
        ("html-zstd-static-content-size.bin", "zstd"),
        ("html-zstd-static-no-content-size.bin", "zstd"),
        ("html-zstd-streaming-no-content-size.bin", "zstd"),
        ("feed-sample1.xml.gz", "gzip"),
    ],
)
def test_real_bodies_are_unpacked(name: str, encoding: str) -> None:
    path: Path = shared_data(f"compression/{name}")
    body = _inflate(encoding, path.read_bytes(), step=100)
    assert b"<" in body[:200]
    if name.startswith("html"):
        assert body.rstrip().endswith(b"</html>")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_no_bomb_gives_more_than_a_piece_at_a_time(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * 100_000_000)
    pieces = Inflater(encoding).feed(bomb)
    assert 0 < len(next(pieces)) <= MOST_PIECE_BYTES
    assert 0 < len(next(pieces)) <= MOST_PIECE_BYTES


def test_a_window_of_gigabytes_is_broken() -> None:
    huge = zstandard.ZstdCompressionParameters(window_log=27, strategy=zstandard.STRATEGY_FAST)
    packer = zstandard.ZstdCompressor(compression_params=huge).compressobj()
    packed = packer.compress(b"x" * 3_000_000) + packer.flush()
    with pytest.raises(BrokenEncodingError):
        _inflate("zstd", packed)


def test_a_real_body_that_was_cut_off_is_broken() -> None:
    with pytest.raises(BrokenEncodingError):
        _inflate("gzip", shared_data("compression/unexpected-eof.gz").read_bytes())
