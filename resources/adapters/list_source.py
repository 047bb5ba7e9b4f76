"""What all forms of lists have in common: a source of records, and the error that refuses one.

A form (text, Parquet, a sheet of a workbook) is one implementation of `Source` in a module of its
own. What the cells of a record mean is decided in `resources/core/list_columns.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

PREFIX_BYTES = 262_144
MAX_RECORD_CHARS = 1_000_000
# Lists of domains shrink to a fifth. A thousandth, which is possible, is a bomb or the same few
# rows again and again; the first of it may be that small.
MOST_TIMES_LARGER = 200
ALWAYS_UNPACKED_BYTES = 16_000_000
# Twenty million rows, the most that a list may have, of five hundred bytes.
MOST_UNPACKED_BYTES = 10_000_000_000


class ListError(Exception):
    """A list that cannot be read; the message is one sentence: what, where, what to do."""


class NoResult(str):
    """What stands in place of a formula's result that whoever wrote the file did not save."""

    __slots__ = ()

    def __new__(cls) -> NoResult:
        return super().__new__(cls, "(formula without a saved result)")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a list: where it starts, how it is written, its cells.

    Attributes:
        line: What a person would look up: the line of a text, the row of a sheet, and of a Parquet
            file the row, from 1.
        text: The record as it is written; of a form without text, its cells with commas between.
        cells: As text. Cells at the end may be missing.
    """

    line: int
    text: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Form:
    """How a list is written.

    Attributes:
        place: The file, or the sheet of a file; for messages.
        encoding: Python's name of the codec of a text; None for other forms.
        delimiter: What separates the cells of a text; None for one value a line and other forms.
        is_packed: Whether it is a text that was packed with gzip.
        is_plain: Whether it is a text with one value a line.
        is_named: Whether the first record surely names the columns.
        left_out: Columns that are not read, for they hold nothing that is text.
    """

    place: str
    encoding: str | None = None
    delimiter: str | None = None
    is_packed: bool = False
    is_plain: bool = False
    is_named: bool = False
    left_out: tuple[str, ...] = ()


class Source(Protocol):
    """The records of one list; each call reads it anew, in bounded memory whatever its size."""

    @property
    def form(self) -> Form:
        """How it is written."""
        ...

    def records(self, needed: Collection[int] | None = None) -> Iterator[Record]:
        """Yield all records in order, a heading included.

        Args:
            needed: Places of the cells that will be looked at, from 0; others may be left empty.
                All if None.

        Raises:
            ListError: The file is broken, or is not what it seemed to be.
            OSError: It cannot be opened or read.
        """
        ...


def as_text(cells: list[str]) -> str:
    """Return the text of a record whose form has none: its cells up to the last that is filled."""
    return ",".join(cells).rstrip(",")


def most_unpacked_bytes(packed_bytes: int) -> int:
    """What may be unpacked of so many bytes; more is a bomb, and no list."""
    by_ratio = max(ALWAYS_UNPACKED_BYTES, MOST_TIMES_LARGER * packed_bytes)
    return min(by_ratio, MOST_UNPACKED_BYTES)


def one_line(error: BaseException) -> str:
    """Return a library's message in a form that fits into a sentence."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
