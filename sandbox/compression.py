"""Gzip put together from parts that were compressed at different times.

Compressing an 80 KB page takes milliseconds, and every site needs its own navigation in it. So a
page is kept as raw-deflate segments that each end with a full flush (which makes them independent
of what comes before), and an answer is header + segments + trailer. The checksum of the whole is
combined from those of the parts, as zlib's `crc32_combine` does.
"""

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_FINAL_BLOCK = b"\x03\x00"
_SHORT_BYTES = 16_384
_RAW_BYTES = 4096
_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of bytes, deflated, with what is needed to append it to others.

    A short one keeps its bytes: running over them is cheaper than combining checksums.
    """

    deflated: bytes
    crc: int
    length: int
    raw: bytes | None


def deflate(data: bytes, level: int = 6) -> Segment:
    """Compress a run of bytes so that it can stand anywhere in a stream."""
    # A small window and hash table make the compressor several times cheaper to set up.
    window, memory = (-12, 5) if len(data) < _SHORT_BYTES else (-15, 8)
    compressor = zlib.compressobj(level, zlib.DEFLATED, window, memory)
    deflated = compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)
    raw = data if len(data) < _RAW_BYTES else None
    return Segment(deflated, zlib.crc32(data), len(data), raw)


def inflate(segment: Segment) -> bytes:
    """Return the bytes of a segment as they were."""
    return zlib.decompressobj(-15).decompress(segment.deflated)


def gzip_parts(segments: tuple[Segment, ...], crc: int) -> tuple[bytes, ...]:
    """Return the parts of one gzip member that holds the segments, whose `checksum` is given."""
    total = sum(segment.length for segment in segments)
    trailer = _FINAL_BLOCK + struct.pack("<II", crc, total & 0xFFFFFFFF)
    return (_HEADER, *(segment.deflated for segment in segments), trailer)


def checksum(segments: tuple[Segment, ...]) -> int:
    """Return the CRC-32 of the segments in a row."""
    crc = 0
    for segment in segments:
        if segment.raw is not None:
            crc = zlib.crc32(segment.raw, crc)
        elif crc == 0:
            crc = segment.crc
        else:
            crc = _multiply(_shift_for(segment.length), crc) ^ segment.crc
    return crc


def _multiply(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo the CRC polynomial, bits reflected."""
    product = 0
    bit = 1 << 31
    while a:
        if a & bit:
            product ^= b
            a ^= bit
        bit >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=8192)
def _shift_for(length: int) -> int:
    """Return x^(8 * length), which moves a checksum past that many bytes."""
    result, power = 1 << 31, 1 << 23
    while length:
        if length & 1:
            result = _multiply(power, result)
        power = _multiply(power, power)
        length >>= 1
    return result
