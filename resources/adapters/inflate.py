"""Unpacks page bodies piece by piece, so that a bomb is noticed before it goes off.

The HTTP client would unpack by itself, but takes a gzip body that was cut off for a whole one; a
page must not be silently short. Here a body is whole, or it is `BrokenEncodingError`. How large it
may get is up to whoever takes the pieces: nothing is unpacked that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import brotli
import zstandard
from isal import isal_zlib

PIECE_BYTES = 65_536
MOST_LAYERS = 3
# Members of a gzip body may be empty: without a limit they cost time and never any size.
MOST_MEMBERS = 100
_GZIP, _ZLIB, _RAW = 31, 15, -15
# A block of Zstandard takes four bytes at least and unpacks to 128 KiB at most, and its interface
# has no other limit: so many bytes at a time unpack to 2 MiB.
_ZSTD_SLICE_BYTES = 64
_ZSTD_WINDOW_BYTES = 8_388_608
_GZIP_NAMES = {"gzip", "x-gzip"}
_KNOWN = _GZIP_NAMES | {"deflate", "br", "zstd"}
_FOREIGN = {"compress", "x-compress", "dcb", "dcz"}


class BrokenEncodingError(ValueError):
    """The body is not encoded as its headers say, or was cut off."""


class TooLargeError(ValueError):
    """The body unpacks to more than is taken."""


def inflate(
    sent: bytes,
    content_encoding: str | None,
    most: int,
    *,
    is_cut: bool = False,
    is_end_missing: bool = False,
) -> bytes:
    """Unpack a body at once.

    Args:
        sent: The body as it was sent.
        content_encoding: The header's value; see `Inflater`.
        most: Most bytes to unpack.
        is_cut: Take the first `most` bytes of a longer body, instead of refusing it.
        is_end_missing: Not all of it was taken off the wire, so that it may end anywhere.

    Raises:
        BrokenEncodingError: it is not what the header says, or was cut off.
        TooLargeError: it unpacks to more than `most` bytes.
    """
    inflater = Inflater(content_encoding)
    pieces = []
    size = 0
    for piece in inflater.feed(sent):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            if is_cut:
                return b"".join(pieces)[:most]
            raise TooLargeError(f"the page is larger than {most} bytes")
    if not is_end_missing:
        inflater.finish()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Inflater:
    """Undoes the content encodings of one body.

    Args:
        content_encoding: The header's value, encodings in the order they were applied; None or
            empty for a plain body. Made-up names (`utf-8`) count as plain, as in browsers.

    Raises:
        BrokenEncodingError: an encoding that nobody uses on the web, or too many of them.
    """

    def __init__(self, content_encoding: str | None) -> None:
        names = [name.strip().lower() for name in (content_encoding or "").split(",")]
        known = [name for name in names if name in _KNOWN]
        if foreign := sorted(_FOREIGN.intersection(names)):
            raise BrokenEncodingError(f"encoded as {foreign[0]}, which nothing here unpacks")
        if len(known) > MOST_LAYERS:
            raise BrokenEncodingError(f"encoded {len(known)} times over")
        self._layers = [_layer(name) for name in reversed(known)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack the next bytes of the body, into pieces of 64 KiB or so (Zstandard: 2 MiB).

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


def _layer(name: str) -> _ZlibLayer | _BrotliLayer | _ZstdLayer:
    match name:
        case "br":
            return _BrotliLayer()
        case "zstd":
            return _ZstdLayer()
    return _ZlibLayer(is_gzip=name in _GZIP_NAMES)


class _BrotliLayer:
    """Brotli, which some servers send without being asked."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._is_begun = False

    @property
    def is_open(self) -> bool:
        """Whether something was begun and not ended."""
        return self._is_begun and not self._stream.is_finished()

    def inflate(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            rest = chunk
            self._is_begun = self._is_begun or bool(chunk)
            # What follows the end is ignored, as with gzip.
            while not self._stream.is_finished():
                try:
                    piece = self._stream.process(rest, output_buffer_limit=PIECE_BYTES)
                except brotli.error as error:
                    raise BrokenEncodingError(f"the compressed body is broken: {error}") from error
                rest = b""
                if piece:
                    yield piece
                if self._stream.can_accept_more_data() and not piece:
                    break


class _ZstdLayer:
    """Zstandard, which some servers send without being asked."""

    def __init__(self) -> None:
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._stream: Any = None
        self._frames = 0

    @property
    def is_open(self) -> bool:
        """Whether something was begun and not ended."""
        return self._stream is not None

    def inflate(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            for start in range(0, len(chunk), _ZSTD_SLICE_BYTES):
                yield from self._pieces(chunk[start : start + _ZSTD_SLICE_BYTES])

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None:
                self._frames += 1
                if self._frames > MOST_MEMBERS:
                    raise BrokenEncodingError(
                        f"the compressed body has more than {MOST_MEMBERS} parts"
                    )
                self._stream = self._unpacker.decompressobj()
            try:
                piece = self._stream.decompress(data)
            except zstandard.ZstdError as error:
                raise BrokenEncodingError(f"the compressed body is broken: {error}") from error
            data = self._stream.unused_data if self._stream.eof else b""
            if self._stream.eof:
                self._stream = None
            if piece:
                yield piece


class _ZlibLayer:
    """Gzip, or deflate in either of its forms."""

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
