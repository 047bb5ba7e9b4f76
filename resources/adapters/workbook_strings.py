"""The strings of an Excel workbook, to which its cells refer by number: kept on disk.

A list of a million companies has two million of them.
"""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path
from typing import BinaryIO

from resources.adapters.list_source import MAX_RECORD_CHARS
from resources.adapters.scratch import private_path
from resources.adapters.workbook_parts import (
    MOST_DEPTH,
    Attributes,
    BrokenPartError,
    Package,
    unescaped,
)

MOST_STRINGS_BYTES = 1_000_000_000
MOST_STRINGS = 20_000_000
_WRITTEN_AT_ONCE_BYTES = 1_000_000
_PLACES = struct.Struct("=2Q")
_PLACE_BYTES = 8


class Strings:
    """All strings of a workbook, in temporary files that end with this object.

    Read by calls, not mapped into memory: there a gigabyte of them would count as ours.

    Args:
        folder: Where they are kept; see `scratch.private_path`.

    Raises:
        ListError: The part is too large or broken.
        OSError: There is no space for them.
    """

    def __init__(self, package: Package, part: str, folder: Path | None = None) -> None:
        self._texts = _private_file(folder)
        self._ends = _private_file(folder)
        self._ends.write(bytes(_PLACE_BYTES))
        self._end = self._count = 0
        taken = _Taken()
        for _ in package.feed(part, taken, MOST_STRINGS_BYTES):
            if taken.size_bytes >= _WRITTEN_AT_ONCE_BYTES:
                self._keep(taken)
        self._keep(taken)
        self._texts.flush()
        self._ends.flush()

    def __getitem__(self, number: int) -> str:
        """Return a string by its number.

        Raises:
            BrokenPartError: There is none of that number.
        """
        if not 0 <= number < self._count:
            raise BrokenPartError(f"a cell refers to string {number}, which is not there")
        places = os.pread(self._ends.fileno(), _PLACES.size, number * _PLACE_BYTES)
        start, end = _PLACES.unpack(places)
        return os.pread(self._texts.fileno(), end - start, start).decode()

    def _keep(self, taken: _Taken) -> None:
        ends = array("Q")
        for text in taken.strings:
            self._end += len(text)
            ends.append(self._end)
        self._count += len(ends)
        self._ends.write(ends.tobytes())
        self._texts.writelines(taken.strings)
        taken.forget()


def _private_file(folder: Path | None) -> BinaryIO:
    with private_path(folder, "pipeline-strings-") as path:
        return open(path, "w+b")  # open for as long as the strings are


class _Taken:
    """Gathers strings; a rich text is several pieces, and what its reading aid says is not text."""

    def __init__(self) -> None:
        self.strings: list[bytes] = []
        self.size_bytes = 0
        self._count = 0
        self._pieces: list[str] = []
        self._chars = 0
        self._is_text = False
        self._is_aid = False
        self._depth = 0

    def forget(self) -> None:
        self.strings.clear()
        self.size_bytes = 0

    def begin(self, name: str, attributes: Attributes) -> None:  # noqa: ARG002
        self._depth += 1
        if name == "t":
            self._is_text = not self._is_aid
        elif name == "rPh":
            self._is_aid = True
        elif self._depth > MOST_DEPTH:
            raise BrokenPartError("elements stand too deep in one another")

    def end(self, name: str) -> None:
        self._depth -= 1
        if name == "t":
            self._is_text = False
        elif name == "si":
            text = unescaped("".join(self._pieces)).encode()
            self._pieces.clear()
            self._chars = 0
            self.strings.append(text)
            # A number that tells where it lies is kept of each, of an empty one too.
            self.size_bytes += len(text) + 8
            self._count += 1
            if self._count > MOST_STRINGS:
                raise BrokenPartError(f"it has more than {MOST_STRINGS:,} strings")
        elif name == "rPh":
            self._is_aid = False

    def text(self, text: str) -> None:
        if self._is_text:
            self._pieces.append(text)
            self._chars += len(text)
            if self._chars > MAX_RECORD_CHARS:
                raise BrokenPartError(f"a string has more than {MAX_RECORD_CHARS:,} characters")
