"""Cut a text into the records of a list: lines, delimiter, quotes.

Everything here is bounded, whatever the file: a line and a record have a greatest size, and nothing
keeps what it has handed on. How the bytes are decoded is `list_encoding.py`; what the columns mean
is decided in `resources/core/list_columns.py`.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TextIO

from resources.adapters.list_source import MAX_RECORD_CHARS, ListError, Record
from resources.core.list_columns import is_known_column

MAX_RECORD_LINES = 1_000
DELIMITERS = (",", ";", "\t", "|")
_LEAST_EVEN_SHARE = 0.6

_EXCEL_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)


class LineSource:
    """Hands out the physical lines of a text with their numbers, and takes lines back."""

    __slots__ = ("_given_back", "_number", "_place", "_stream")

    def __init__(self, stream: TextIO, place: str) -> None:
        self._stream = stream
        self._place = place
        self._number = 0
        self._given_back: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while (line := self.pull()) is not None:
            yield line

    def pull(self) -> tuple[int, str] | None:
        """Return the next line without its end, or None after the last one."""
        if self._given_back:
            return self._given_back.popleft()
        self._number += 1
        try:
            text = self._stream.readline(MAX_RECORD_CHARS + 2)
        except UnicodeError as error:
            raise ListError(
                f"{self._place} cannot be decoded as {self._stream.encoding.upper()} from about "
                f"line {self._number} on; save it as UTF-8"
            ) from error
        except OSError as error:
            raise ListError(
                f"{self._place} cannot be read on from line {self._number} "
                f"({error.strerror or error}); check the disk and run again"
            ) from error
        if not text:
            return None
        text = text.rstrip("\r\n")
        if len(text) > MAX_RECORD_CHARS:
            raise ListError(
                f"line {self._number} of {self._place} has more than {MAX_RECORD_CHARS:,} "
                "characters; a list has one domain a line, check what the file is"
            )
        return self._number, text

    def give_back(self, lines: Sequence[tuple[int, str]]) -> None:
        """Take lines back that were pulled last; they are handed out again first."""
        self._given_back.extendleft(reversed(lines))


def records(lines: LineSource, delimiter: str | None, width: int) -> Iterator[Record]:
    """Cut lines into records; blank lines are none, in a plain text `#` lines neither.

    Args:
        lines: The physical lines.
        delimiter: What separates cells; None for a text with one value a line.
        width: How many cells a record has. Fewer or more are handed out all the same; it only
            decides whether a quoted cell that runs over several lines is meant so.
    """
    is_first = True
    for number, text in lines:
        is_excel_line = is_first and _EXCEL_SEPARATOR_LINE.fullmatch(text.strip())
        is_first = False
        if is_excel_line or not text.strip():
            continue
        if delimiter is None:
            if not text.lstrip().startswith("#"):
                yield Record(number, text, [text.strip().strip('"')])
        elif '"' in text:
            yield _quoted_record(lines, number, text, delimiter, width)
        else:
            yield Record(number, text, text.split(delimiter))


def _quoted_record(lines: LineSource, number: int, text: str, delimiter: str, width: int) -> Record:
    """Read a record with quotes, over several lines if that is how it is meant.

    A stray quote would swallow the rows up to the next quote without a word. So lines are joined
    only if the quote is closed and the record then has the usual number of cells; otherwise the
    first line is a record of its own, and the others are read again.
    """
    taken: list[tuple[int, str]] = []

    def feed() -> Iterator[str]:
        yield text + "\n"
        size = len(text)
        while len(taken) < MAX_RECORD_LINES and size < MAX_RECORD_CHARS:
            line = lines.pull()
            if line is None:
                return
            taken.append(line)
            size += len(line[1])
            yield line[1] + "\n"

    try:
        # strict: an error for a quote that is never closed, and for text behind a closed one.
        cells = next(csv.reader(feed(), delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error:
        cells = None
    if cells is not None and (not taken or len(cells) == width):
        return Record(number, "\n".join([text, *(line for _, line in taken)]), cells)
    lines.give_back(taken)
    return Record(number, text, _cells_of_line(text, delimiter))


def _cells_of_line(text: str, delimiter: str) -> list[str]:
    """Cut one line whose quotes are not as they should be."""
    if text.count('"') % 2 == 0:  # such as quotes within quotes that are not doubled
        try:
            return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))
        except csv.Error:  # a cell beyond the csv module's own limit
            pass
    return text.split(delimiter)


def detect_delimiter(sample: Sequence[str]) -> tuple[str | None, int]:
    """Return the delimiter of the first lines and the usual number of cells.

    A delimiter counts if the first record has a known column name beside other cells, or if most
    records have the same number of cells; otherwise it is a text with one value a line (None, 1).
    """
    if excel := _EXCEL_SEPARATOR_LINE.fullmatch(sample[0].strip()):
        rows = _parse(sample[1:], excel[1])
        return excel[1], max(map(len, rows), default=1)
    best: tuple[bool, float, int] = (False, 0.0, 1)
    delimiter: str | None = None
    for candidate in DELIMITERS:
        rows = _parse(sample, candidate)
        sizes = [len(row) for row in rows]
        first = rows[0] if rows else []
        is_table = len(rows) == 1 or any(size > 1 for size in sizes[1:])
        is_named = is_table and len(first) > 1 and any(map(is_known_column, first))
        width = len(first) if is_named else max(set(sizes), key=sizes.count, default=1)
        share = sizes.count(width) / len(sizes) if sizes else 0.0
        if width > 1 and (is_named or share >= _LEAST_EVEN_SHARE):
            rank = (is_named, share, width)
            if rank > best:
                best, delimiter = rank, candidate
    return delimiter, best[2]


def _parse(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        ended = [f"{line}\n" for line in lines]
        return list(csv.reader(ended, delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return [line.split(delimiter) for line in lines if line.strip()]
