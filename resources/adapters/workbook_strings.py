"""The strings of an Excel workbook, to which its cells refer by number: kept on disk.

A list of a million companies has two million of them.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array

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


class Strings:
    """All strings of a workbook, in a temporary file that ends with this object.

    Raises:
        ListError: The part is too large or broken.
        OSError: There is no space for them.
    """

    def __init__(self, package: Package, part: str) -> None:
        self._ends = array("Q", [0])
        self._file = tempfile.TemporaryFile(prefix="pipeline-strings-")  # noqa: SIM115
        taken = _Taken()
        for _ in package.feed(part, taken, MOST_STRINGS_BYTES):
            if taken.size_bytes >= _WRITTEN_AT_ONCE_BYTES:
                self._keep(taken)
        self._keep(taken)
        self._file.flush()
        is_empty = self._ends[-1] == 0
        self._bytes = (
            b"" if is_empty else mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        )

    def __getitem__(self, number: int) -> str:
        """Return a string by its number.

        Raises:
            BrokenPartError: There is none of that number.
        """
        if not 0 <= number < len(self._ends) - 1:
            raise BrokenPartError(f"a cell refers to string {number}, which is not there")
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode()

    def _keep(self, taken: _Taken) -> None:
        end = self._ends[-1]
        for text in taken.strings:
            end += len(text)
            self._ends.append(end)
        self._file.writelines(taken.strings)
        taken.forget()


class _Taken:
    """Gathers strings; a rich text is several pieces, and what its reading aid says is not text."""

    def __init__(self) -> None:
        self.strings: list[bytes] = []
        self.size_bytes = 0
        self._count = 0
        self._pieces: list[str] = []
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
