"""The parts of an Excel workbook (.xlsx): an archive of XML, read in pieces and within limits.

openpyxl builds every element of a row before it hands it on, and keeps all strings: a million rows
as Excel writes them take it 390 MB and three times as long, and a row without an end takes what it
likes. So the parts are parsed here, event by event. Not here: what the cells of a sheet hold.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from resources.adapters.list_source import (
    MOST_TIMES_LARGER,
    ListError,
    most_unpacked_bytes,
    one_line,
)

MOST_SMALL_BYTES = 32_000_000  # of the parts that describe the others
MOST_SHEET_BYTES = 2_000_000_000
MOST_TOKEN_BYTES = 8_000_000
MOST_DEPTH = 100
_PIECE_BYTES = 65_536
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")

Attributes = dict[str, str]


class BrokenPartError(ValueError):
    """A part is not as Excel writes it."""


class Handler(Protocol):
    """Is told what stands in a part. Names come without the prefix of the part's own namespace."""

    def begin(self, name: str, attributes: Attributes) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, text: str) -> None: ...


class Package:
    """The archive of a workbook.

    Args:
        path: The file.

    Raises:
        ListError: It is no workbook, or is protected by a password.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = ZipFile(path)
            self._sizes = {info.filename: info.file_size for info in self._archive.infolist()}
            self._packed = {info.filename: info.compress_size for info in self._archive.infolist()}
            if any(info.flag_bits & 1 for info in self._archive.infolist()):
                raise ListError(f"{path} is protected by a password; save it without one")
        except (BadZipFile, ValueError, NotImplementedError) as error:
            raise ListError(
                f"{path} looks like an Excel workbook (.xlsx) or another ZIP archive, but is "
                f"broken or cut off ({one_line(error)}); save it again, or export the list as CSV"
            ) from error
        if "xl/workbook.bin" in self._sizes:
            raise ListError(f"{path} is a binary workbook (.xlsb); save it as .xlsx or CSV")
        if "_rels/.rels" not in self._sizes:
            raise ListError(
                f"{path} is a ZIP archive or another program's file, and no Excel workbook "
                "(.xlsx); unpack it, or export the list as .xlsx or CSV"
            )

    def feed(self, part: str, handler: Handler, most_bytes: int) -> Iterator[None]:
        """Tell a handler what stands in a part, piece by piece; yields after each.

        Raises:
            ListError: The part is missing, larger than `most_bytes` unpacked, or broken.
        """
        size_bytes = self._sizes.get(part)
        if size_bytes is None:
            raise self._broken(f"it has no part {part}")
        if size_bytes > most_bytes:
            raise ListError(
                f"{self.path} unpacks to {size_bytes:,} bytes in {part}, more than "
                f"{most_bytes:,}; export the list as CSV"
            )
        if size_bytes > most_unpacked_bytes(self._packed[part]):
            raise ListError(
                f"{self.path} unpacks to more than {MOST_TIMES_LARGER} times its size in {part}, "
                "as no list does; if it is one, export it as CSV"
            )
        try:
            with self._archive.open(part) as stream:
                yield from _parsed(stream, handler)
        except (BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise self.broken(part, error) from error
        except (expat.ExpatError, BrokenPartError) as error:
            raise self.broken(part, error) from error

    def elements(self, part: str) -> Iterator[tuple[str, str, Attributes]]:
        """Yield (parent, name, attributes) of each element of a small part.

        Raises: as `feed` does.
        """
        found = _Elements()
        for _ in self.feed(part, found, MOST_SMALL_BYTES):
            yield from found.taken
            found.taken.clear()

    def related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return what a part refers to: the last word of the kind and the part's name, by id.

        Raises: as `feed` does, for a part that refers to nothing as well.
        """
        folder, _, name = part.rpartition("/")
        links = {}
        for _, kind, attributes in self.elements(f"{folder}/_rels/{name}.rels".lstrip("/")):
            target = attributes.get("Target", "")
            if kind == "Relationship" and attributes.get("TargetMode") != "External":
                place = target[1:] if target.startswith("/") else f"{folder}/{target}".lstrip("/")
                kind_of_link = attributes.get("Type", "").rpartition("/")[2]
                links[attributes.get("Id", "")] = (kind_of_link, place)
        return links

    def broken(self, part: str, error: BaseException) -> ListError:
        """What is said of a part that is not as Excel writes it."""
        return self._broken(f"{part}: {one_line(error)}")

    def _broken(self, reason: str) -> ListError:
        return ListError(
            f"{self.path} is a broken Excel workbook ({reason}); open and save it again, or export "
            "the list as CSV"
        )


def unescaped(text: str) -> str:
    """Undo Excel's way to write control characters, such as `_x000D_`."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def _parsed(stream: IO[bytes], handler: Handler) -> Iterator[None]:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = partial(_begin_root, parser, handler)
    parser.StartDoctypeDeclHandler = _refuse_declarations
    fed_bytes = 0
    while piece := stream.read(_PIECE_BYTES):
        parser.Parse(piece, False)
        fed_bytes += len(piece)
        # What has not ended yet is held by the parser.
        if fed_bytes - parser.CurrentByteIndex > MOST_TOKEN_BYTES:
            raise BrokenPartError("an element is too long")
        yield
    parser.Parse(b"", True)
    yield


def _begin_root(
    parser: expat.XMLParserType, handler: Handler, root: str, attributes: Attributes
) -> None:
    """Take the root's prefix from all names; others stand for extensions and keep theirs."""
    own = "".join(root.rpartition(":")[:2])
    if own:
        parser.StartElementHandler = lambda name, given: handler.begin(
            name.removeprefix(own), given
        )
        parser.EndElementHandler = lambda name: handler.end(name.removeprefix(own))
    else:  # called at once: a large sheet has ten million elements
        parser.StartElementHandler = handler.begin
        parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    handler.begin(root.removeprefix(own), attributes)


def _refuse_declarations(*_: object) -> None:
    raise BrokenPartError("it declares a document type, as no workbook does")


class _Elements:
    """Keeps the elements of the piece that was just read."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, Attributes]] = []
        self._open = [""]

    def begin(self, name: str, attributes: Attributes) -> None:
        self.taken.append((self._open[-1], name, attributes))
        self._open.append(name)
        if len(self._open) > MOST_DEPTH:
            raise BrokenPartError("elements stand too deep in one another")

    def end(self, name: str) -> None:  # noqa: ARG002
        self._open.pop()

    def text(self, text: str) -> None:
        """Text between elements means nothing in these parts."""
