"""How large the pages of a Parquet file are unpacked: read from their headers, nothing is unpacked.

A page is the least that Arrow unpacks at once, and it takes what the page's header says. What the
end of the file says of whole columns may be anything. The headers are in Thrift's compact protocol
(Parquet format, `parquet.thrift`, PageHeader). Of dictionaries the longest value counts: a batch of
rows may hold it in each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

_FIRST_HEADER_BYTES = 4_096
_MOST_HEADER_BYTES = 1_048_576
_MOST_DEPTH = 12
_MOST_PAGES = 2_000_000
_DICTIONARY_PAGE = 2
_DICTIONARY_ENCODINGS = frozenset({2, 8})
# The beginning of a value is that of the one before: each may be as long as all of the page.
_DELTA_BYTE_ARRAY = 7
WIDEST_NUMBER_BYTES = 16
_CODECS = {"SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli"}

Fields = dict[int, object]


class BrokenPageError(ValueError):
    """The pages of a column are not as Parquet describes them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The pages of one column in one group of rows.

    Args:
        start: Where its first page begins in the file.
        size_bytes: Of all its pages, as they are packed.
        codec: Parquet's name of how they are packed.
        value_bytes: Of each value where all are equally wide; None where they are not.
    """

    start: int
    size_bytes: int
    codec: str
    value_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Page:
    values: int
    size_bytes: int
    most_value_bytes: int  # what a value may have besides what the page itself holds


class ChunkPages:
    """What is known of the pages of a chunk.

    Attributes:
        size_bytes: Of all of them, unpacked.
        most_at_once_bytes: The largest page and the dictionary, unpacked.
    """

    def __init__(self, pages: Sequence[_Page], dictionary_bytes: int) -> None:
        self._pages = pages
        self.size_bytes = dictionary_bytes + sum(page.size_bytes for page in pages)
        self.most_at_once_bytes = dictionary_bytes + max(
            (page.size_bytes for page in pages), default=0
        )

    def most_bytes_of(self, rows: int) -> int:
        """The most that so many rows in a row may take."""
        most = window = values = first = 0
        widest = max((page.most_value_bytes for page in self._pages), default=0)
        for page in self._pages:
            window += page.size_bytes
            values += page.values
            # All but the last page and a row of the first one lie within them.
            while first < len(self._pages) and values - self._pages[first].values >= rows:
                values -= self._pages[first].values
                window -= self._pages[first].size_bytes
                first += 1
            most = max(most, window)
        return most + rows * widest


def chunk_pages(stream: BinaryIO, chunk: Chunk) -> ChunkPages:
    """Read the headers of all pages of a chunk.

    Raises:
        BrokenPageError: They are not as Parquet describes them.
        OSError: The file cannot be read.
    """
    pages: list[_Page] = []
    dictionary_bytes = longest = 0
    for page_type, header, at, packed_bytes in _headers(stream, chunk):
        size_bytes = _number(header, 2)
        if page_type == _DICTIONARY_PAGE:
            dictionary_bytes += size_bytes
            longest = max(longest, _longest(stream, chunk, at, packed_bytes, size_bytes))
            continue
        described = header.get(5) or header.get(8) or {}
        if not isinstance(described, dict):
            raise BrokenPageError("a page does not say what it holds")
        encoding = described.get(2 if 5 in header else 4)
        pages.append(
            _Page(_number(described, 1), size_bytes, _reach(encoding, size_bytes, longest))
        )
    return ChunkPages(pages, dictionary_bytes)


def _reach(encoding: object, size_bytes: int, longest: int) -> int:
    if encoding in _DICTIONARY_ENCODINGS:
        return longest
    return size_bytes if encoding == _DELTA_BYTE_ARRAY else 0


def _headers(stream: BinaryIO, chunk: Chunk) -> Iterator[tuple[int, Fields, int, int]]:
    """Yield the kind, header, place and packed size of each page."""
    at, end = chunk.start, chunk.start + chunk.size_bytes
    for _ in range(_MOST_PAGES):
        if at >= end:
            return
        header, length = _header(stream, at)
        packed_bytes = _number(header, 3)
        at += length
        yield _number(header, 1), header, at, packed_bytes
        at += packed_bytes
    raise BrokenPageError(f"it has more than {_MOST_PAGES:,} pages")


def _header(stream: BinaryIO, at: int) -> tuple[Fields, int]:
    size = _FIRST_HEADER_BYTES
    while True:
        stream.seek(at)
        read = stream.read(size)
        try:
            reader = _Compact(read)
            return reader.struct(), reader.at
        except IndexError:
            if len(read) < size or size >= _MOST_HEADER_BYTES:
                raise BrokenPageError("the header of a page has no end") from None
            size *= 16


def _longest(stream: BinaryIO, chunk: Chunk, at: int, packed_bytes: int, size_bytes: int) -> int:
    """How long the longest value of a dictionary is; as long as all of it where that is not known.

    The dictionary is unpacked for it, as it will be anyway.
    """
    if chunk.value_bytes is not None:
        return chunk.value_bytes
    if chunk.codec not in _CODECS and chunk.codec != "UNCOMPRESSED":
        return size_bytes
    stream.seek(at)
    packed = stream.read(packed_bytes)
    try:
        values = (
            packed
            if chunk.codec == "UNCOMPRESSED"
            else pa.decompress(packed, size_bytes, codec=_CODECS[chunk.codec], asbytes=True)
        )
    except (pa.ArrowException, OSError):
        return size_bytes
    longest = place = 0
    while place + 4 <= len(values):
        length = int.from_bytes(values[place : place + 4], "little")
        longest = max(longest, length)
        place += 4 + length
    return min(longest, size_bytes)


def _number(fields: dict[int, object], key: int) -> int:
    found = fields.get(key)
    if not isinstance(found, int) or found < 0:
        raise BrokenPageError("the header of a page lacks a size")
    return found


class _Compact:
    """Thrift's compact protocol, as far as headers of pages need it.

    Raises: `IndexError` where the bytes end too early, `BrokenPageError` where they are none.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def struct(self, depth: int = 0) -> Fields:
        if depth > _MOST_DEPTH:
            raise BrokenPageError("the header of a page is nested too deep")
        found: Fields = {}
        key = 0
        while (head := self._byte()) != 0:
            delta, kind = head >> 4, head & 15
            key = key + delta if delta else self._zigzag()
            found[key] = self._value(kind, depth, is_element=False)
        return found

    def _value(self, kind: int, depth: int, *, is_element: bool) -> object:
        match kind:
            case 1 | 2:  # a truth value stands in the head of its field
                return bool(self._byte() == 1) if is_element else kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._zigzag()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 9 | 10:
                head = self._byte()
                count = self._varint() if head >> 4 == 15 else head >> 4
                for _ in range(count):
                    self._value(head & 15, depth + 1, is_element=True)
            case 12:
                return self.struct(depth + 1)
            case _:
                raise BrokenPageError("the header of a page is spoilt")
        return None

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise BrokenPageError("the header of a page is spoilt")

    def _zigzag(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._content):
            raise IndexError
