"""Read a list of companies row by row, in bounded memory, whatever program wrote it.

CSV, TSV and plain text are told apart by content, not by the name of the file. Every data row is
handed out, spoilt ones too: what is wrong with a value is said by `resources/core/domains.py`, so
that the rows of a file always add up. Nothing is written here and nothing is kept.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from resources.adapters.list_format import (
    PREFIX_BYTES,
    LineSource,
    ListError,
    Record,
    detect_delimiter,
    detect_encoding,
    open_text,
    records,
)
from resources.core.list_columns import (
    ColumnLayout,
    NoDomainColumnError,
    choose_layout,
    hints,
    looks_like_domain,
)

__all__ = ["ListError", "ListReader", "ListRow", "file_digest", "hints", "open_list"]

SAMPLE_ROWS = 101  # a header and a hundred rows
MAX_RAW_CHARS = 500
MAX_VALUE_CHARS = 4_096  # more than a domain may have, so that it is still rejected as too long
MAX_ATTRIBUTE_CHARS = 500
MAX_ATTRIBUTES = 50

# Written out: \s would take control characters for separators, and half a value for a domain.
_SEPARATORS = re.compile("[;,|\n\r\t \u00a0\u3000]+")


@dataclass(frozen=True, slots=True)
class ListRow:
    """One data row of a list.

    Attributes:
        line: Physical line in which the record starts, from 1.
        raw: The record as written, at most `MAX_RAW_CHARS`.
        value: What stands in the domain column, empty if the row is too short. Of several values
            in one cell ("acme.com; acme.de") the first that looks like a domain.
        attributes: The other cells that are not empty, by lower-case column name.
    """

    line: int
    raw: str
    value: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class ListReader:
    """A list whose form is known; every iteration reads the file anew.

    Attributes:
        columns: Names of the columns; `column_1` and so on where there is no header.
        domain_column: The one that holds the domains.
        encoding: Python's name of the codec: utf-8, utf-8-sig, utf-16 or cp1252.
        delimiter: Comma, semicolon, tab or pipe; None for a text with one value a line, in which
            lines that begin with `#` are remarks and no rows.
        header: Whether the first record names the columns.
    """

    path: Path
    columns: tuple[str, ...]
    domain_column: str
    encoding: str
    delimiter: str | None
    header: bool

    def __iter__(self) -> Iterator[ListRow]:
        """Yield every data row in the order of the file.

        Raises:
            ListError: A line is too long, UTF-16 is broken, or the disk fails.
        """
        for row, _ in self.with_cells():
            yield row

    def with_cells(self) -> Iterator[tuple[ListRow, list[str]]]:
        """Yield every data row together with all of its cells as they are written.

        Raises: as iterating does.
        """
        domain_index = self.columns.index(self.domain_column)
        names = [name.lower() for name in self.columns]
        found = self._records()
        if self.header:
            next(found, None)
        for record in found:
            yield _row(record, domain_index, names), record.cells

    def heading(self) -> list[str]:
        """Return the names of the columns as they are written; `columns` where there is no header.

        Raises: as iterating does.
        """
        first = next(self._records(), None) if self.header else None
        return list(self.columns) if first is None else first.cells

    def _records(self) -> Iterator[Record]:
        with _opened(self.path, self.encoding) as stream:
            yield from records(LineSource(stream, self.path), self.delimiter, len(self.columns))


def open_list(path: Path, column: str | None = None) -> ListReader:
    """Find out the form of a list by its beginning.

    Args:
        path: A file; a pipe will not do, for it is read twice.
        column: The column of the domains, in any case; found by name or looks if None.

    Raises:
        ListError: The file is missing, unreadable, empty, binary, or has no column of domains.
    """
    encoding = detect_encoding(_prefix(path), path)
    with _opened(path, encoding) as stream:
        sample = _sample_lines(LineSource(stream, path))
    if not sample:
        raise ListError(f"{path} is empty; give a file with one domain a line or a CSV")
    delimiter, width = detect_delimiter(sample)
    with _opened(path, encoding) as stream:
        found = records(LineSource(stream, path), delimiter, width)
        rows = _sample_rows(found)
    layout = _layout(path, rows, column, is_plain=delimiter is None)
    if layout.has_header and len(rows) == 1:
        raise ListError(
            f"{path} has a header ({_listed(layout.columns)}) and no rows below it; "
            "add one row for each domain"
        )
    return ListReader(
        path=path,
        columns=layout.columns,
        domain_column=layout.columns[layout.domain_index],
        encoding=encoding,
        delimiter=delimiter,
        header=layout.has_header,
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in small pieces.

    Raises:
        ListError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _prefix(path: Path) -> bytes:
    """Read the first bytes of what must be a plain file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ListError(f"{path} is a folder; give the file of the list in it")
        if not stat.S_ISREG(mode):
            raise ListError(f"{path} is not a plain file; save the list to a file first")
        with path.open("rb") as stream:
            return stream.read(PREFIX_BYTES)
    except FileNotFoundError as error:
        raise ListError(f"{path} does not exist; check the name of the list file") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _opened(path: Path, encoding: str) -> TextIO:
    try:
        return open_text(path, encoding)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> ListError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ListError(f"{path} cannot be read ({reason}); check the path and its permissions")


def _sample_lines(lines: LineSource) -> list[str]:
    """Take the first lines that are not blank, as many as a sample needs."""
    sample: list[str] = []
    size = 0
    for _, text in lines:
        size += len(text) + 1
        if text.strip():
            sample.append(text)
        if len(sample) >= SAMPLE_ROWS or (sample and size > PREFIX_BYTES):
            break
    return sample


def _sample_rows(found: Iterator[Record]) -> list[list[str]]:
    rows: list[list[str]] = []
    size = 0
    for record in found:
        rows.append(record.cells)
        size += len(record.text)
        if len(rows) >= SAMPLE_ROWS or (len(rows) > 1 and size > PREFIX_BYTES):
            break
    return rows


def _layout(
    path: Path, rows: list[list[str]], column: str | None, *, is_plain: bool
) -> ColumnLayout:
    if not rows:
        raise ListError(f"{path} has only remarks and no rows; add one domain a line")
    try:
        return choose_layout(rows, wanted=column, is_plain=is_plain)
    except NoDomainColumnError as error:
        found = _listed(error.columns)
        if error.wanted is not None:
            raise ListError(
                f"{path} has no column {error.wanted!r}; name one of {found} with --column"
            ) from error
        raise ListError(
            f"{path} has no column that looks like domains (found: {found}); "
            "name the right one with --column"
        ) from error


def _listed(columns: tuple[str, ...]) -> str:
    shown = ", ".join(name[:60] for name in columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown


def _row(record: Record, domain_index: int, names: list[str]) -> ListRow:
    cells = record.cells
    attributes: dict[str, str] = {}
    for index, cell in enumerate(cells[:MAX_ATTRIBUTES]):
        if index != domain_index and (text := cell.strip()):
            name = names[index] if index < len(names) else f"column_{index + 1}"
            attributes[name] = text[:MAX_ATTRIBUTE_CHARS]
    return ListRow(
        line=record.line,
        raw=record.text[:MAX_RAW_CHARS],
        value=_first_value(cells[domain_index]) if domain_index < len(cells) else "",
        attributes=attributes,
    )


def _first_value(cell: str) -> str:
    """Return the first of several values in a cell, or the cell if it holds only one."""
    cell = cell[:MAX_VALUE_CHARS].strip(" \t\r\n")
    if not _SEPARATORS.search(cell):
        return cell
    pieces = _SEPARATORS.split(cell)
    return next((piece for piece in pieces if looks_like_domain(piece)), cell)
