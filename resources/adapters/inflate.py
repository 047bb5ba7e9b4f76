"""Unpacks page bodies piece by piece, so that a bomb is noticed before it goes off.

The HTTP client would unpack by itself, but takes a gzip body that was cut off for a whole one; a
page must not be silently short. Here a body is whole, or it is `BrokenEncodingError`. How large it
may get is up to whoever takes the pieces: nothing is unpacked that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from isal import isal_zlib

PIECE_BYTES = 65_536
MOST_LAYERS = 3
# Members of a gzip body may be empty: without a limit they cost time and never any size.
MOST_MEMBERS = 100
_GZIP, _ZLIB, _RAW = 31, 15, -15
_GZIP_NAMES = {"gzip", "x-gzip"}
_FOREIGN = {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}


class BrokenEncodingError(ValueError):
    """The body is not encoded as its headers say, or was cut off."""


class Inflater:
    """Undoes the content encodings of one body.

    Args:
        content_encoding: The header's value, encodings in the order they were applied; None or
            empty for a plain body. Made-up names (`utf-8`) count as plain, as in browsers.

    Raises:
        BrokenEncodingError: an encoding that we did not ask for, or too many of them.
    """

    def __init__(self, content_encoding: str | None) -> None:
        names = [name.strip().lower() for name in (content_encoding or "").split(",")]
        known = [name for name in names if name in _GZIP_NAMES or name == "deflate"]
        if foreign := sorted(_FOREIGN.intersection(names)):
            raise BrokenEncodingError(f"encoded as {foreign[0]}, which was not asked for")
        if len(known) > MOST_LAYERS:
            raise BrokenEncodingError(f"encoded {len(known)} times over")
        self._layers = [_Layer(is_gzip=name in _GZIP_NAMES) for name in reversed(known)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack the next bytes of the body, into pieces of at most 64 KiB.

        Raises:
            BrokenEncodingError: they are not what the headers say.
        """
        pieces: Iterator[bytes] = iter([data])
        for layer in self._layers:
            pieces = layer.inflate(pieces)
        return pieces

    def finish(self) -> None:
        """Check that the body was whole.

        Raises:
            BrokenEncodingError: it was cut off.
        """
        if any(layer.is_open for layer in self._layers):
            raise BrokenEncodingError("the compressed body ends too early")


class _Layer:
    """One encoding."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: Any = None
        self._members = 0
        self._is_over = False

    @property
    def is_open(self) -> bool:
        """Whether something was begun and not ended."""
        return self._stream is not None

    def inflate(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            rest = chunk
            # What follows the end, zero bytes mostly, is ignored, as gzip and browsers do.
            while rest and not self._is_over:
                if self._stream is None:
                    if self._members and not (self._is_gzip and rest.startswith(b"\x1f")):
                        self._is_over = True
                        break
                    self._stream = self._begin(rest)
                yield from self._pieces(rest)
                rest = b""
                if self._stream.eof:
                    rest = self._stream.unused_data
                    self._stream = None

    def _begin(self, data: bytes) -> Any:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise BrokenEncodingError(f"the compressed body has more than {MOST_MEMBERS} parts")
        if self._is_gzip:
            return isal_zlib.decompressobj(wbits=_GZIP)
        # "deflate" means zlib; many servers send it without zlib's header.
        return isal_zlib.decompressobj(wbits=_ZLIB if data[0] & 0x0F == 8 else _RAW)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says less
                raise BrokenEncodingError(f"the compressed body is broken: {error}") from error
            if piece:
                yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof or (not data and len(piece) < PIECE_BYTES):
                return
