"""Bytes as they are kept: packed with zstd.

A compressor made anew costs several times what a small answer costs to pack; one serves a single
thread at a time, so each thread has its own.
"""

from __future__ import annotations

import threading

import zstandard

_LEVEL = 3
_of_thread = threading.local()


def pack(content: bytes) -> bytes:
    """Pack bytes; `unpack` gives them back."""
    compressor: zstandard.ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if compressor is None:
        compressor = _of_thread.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return compressor.compress(content)


def unpack(packed: bytes) -> bytes:
    """Give packed bytes back.

    Raises:
        zstandard.ZstdError: they are cut off or were never packed.
    """
    return zstandard.decompress(packed)
