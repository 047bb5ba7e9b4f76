"""Read a list of companies row by row, in bounded memory, whatever program wrote it.

Text (CSV, TSV, one value a line, packed with gzip or not), Parquet and Excel workbooks are told
apart by content, not by the name of the file; each form is a module beside this one. Every data row
is handed out, spoilt ones too: what is wrong with a value is said by `resources/core/domains.py`,
so that the rows of a file always add up. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from resources.adapters.list_encoding import known_form
from resources.adapters.list_gzip import unpacked_prefix
from resources.adapters.list_source import PREFIX_BYTES, Form, ListError, NoResult, Record, Source
from resources.adapters.list_text import text_source
from resources.core.list_columns import (
    ColumnLayout,
    NoDomainColumnError,
    choose_layout,
    hints,
    is_known_column,
    looks_like_domain,
)

__all__ = ["ListError", "ListReader", "ListRow", "file_digest", "hints", "open_list"]

SAMPLE_ROWS = 101  # a header and a hundred rows
MAX_RAW_CHARS = 500
MAX_VALUE_CHARS = 4_096  # more than a domain may have, so that it is still rejected as too long
MAX_ATTRIBUTE_CHARS = 500
MAX_ATTRIBUTES = 50
# More than any list of companies has; what unpacks to more would fill the disk.
MAX_ROWS = 20_000_000
_GZIP = b"\x1f\x8b"
# Imported when needed: pyarrow and openpyxl take a third of a second and 30 to 50 MB each.
_LIBRARIES = {
    b"PAR1": "resources.adapters.list_parquet",
    b"PK\x03\x04": "resources.adapters.list_workbook",
    b"PK\x05\x06": "resources.adapters.list_workbook",  # an archive of nothing
    b"\xd0\xcf\x11\xe0": "resources.adapters.list_workbook",
}

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
        source: Where its records come from.
        columns: Names of the columns; `column_1` and so on where there is no header.
        domain_column: The one that holds the domains.
        header: Whether the first record names the columns.
    """

    source: Source
    columns: tuple[str, ...]
    domain_column: str
    header: bool

    @property
    def form(self) -> Form:
        """How the list is written; lines of a plain text that begin with `#` are no rows."""
        return self.source.form

    def __iter__(self) -> Iterator[ListRow]:
        """Yield every data row in the order of the file.

        Raises:
            ListError: The file is broken, a line is too long, or there are too many rows.
        """
        domain_index = self.columns.index(self.domain_column)
        needed = frozenset([domain_index, *range(MAX_ATTRIBUTES)])
        for row, _ in self._rows(needed):
            yield row

    def with_cells(self) -> Iterator[tuple[ListRow, list[str]]]:
        """Yield every data row together with all of its cells as they are written.

        Raises: as iterating does.
        """
        return self._rows(None)

    def heading(self) -> list[str]:
        """Return the names of the columns as they are written; `columns` where there is no header.

        Raises: as iterating does.
        """
        first = next(_records(self.source), None) if self.header else None
        return list(self.columns) if first is None else first.cells

    def _rows(self, needed: Collection[int] | None) -> Iterator[tuple[ListRow, list[str]]]:
        domain_index = self.columns.index(self.domain_column)
        names = [name.lower() for name in self.columns]
        found = _records(self.source, needed)
        if self.header:
            next(found, None)
        for count, record in enumerate(found, 1):
            if count > MAX_ROWS:
                raise ListError(
                    f"{self.form.place} has more than {MAX_ROWS:,} rows; split it into several "
                    "lists"
                )
            cells = record.cells
            if domain_index < len(cells) and isinstance(cells[domain_index], NoResult):
                raise ListError(_without_results(self.form.place, f" in row {record.line}"))
            yield _row(record, domain_index, names), cells


def open_list(path: Path, column: str | None = None, scratch: Path | None = None) -> ListReader:
    """Find out the form of a list by its beginning.

    Of a workbook it is the first visible sheet with a column that is named as domains are, else the
    first with one that looks like domains.

    Args:
        path: A file; a pipe will not do, for it is read twice.
        column: The column of the domains, in any case; found by name or looks if None.
        scratch: Folder for temporary files, made if it is missing; the system's if None.

    Raises:
        ListError: The file is missing, unreadable, empty, binary, or has no column of domains.
    """
    by_looks: ListReader | None = None
    refused: _NoRowsError | None = None
    for source in _sources(path, scratch):
        try:
            reader = _reader(source, column)
        except _NoRowsError as error:
            refused = refused or error
            continue
        if column is not None or is_known_column(reader.domain_column):
            return reader
        by_looks = by_looks or reader
    if by_looks is None:
        raise refused or ListError(f"{path} is empty; give a file with one domain a line or a CSV")
    return by_looks


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in small pieces.

    Raises:
        ListError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error


class _NoRowsError(ListError):
    """There is nothing to read here; another sheet of the same workbook may do."""


def _sources(path: Path, scratch: Path | None) -> Iterable[Source]:
    """Return what may be the list: the file, or the visible sheets of a workbook in order."""
    prefix = _prefix(path)
    try:
        if prefix.startswith(_GZIP):
            inner = unpacked_prefix(path)
            if what := known_form(inner):
                raise ListError(
                    f"{path} is a gzip archive that holds {what}; unpack it and give what is in it"
                )
            return [text_source(path, inner, is_packed=True)]
        for magic, module in _LIBRARIES.items():
            if prefix.startswith(magic):
                sources: Iterable[Source] = import_module(module).sources(path, scratch)
                return sources
        return [text_source(path, prefix)]
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _records(source: Source, needed: Collection[int] | None = None) -> Iterator[Record]:
    try:
        yield from source.records(needed)
    except OSError as error:
        raise _unreadable(source.form.place, error) from error


def _reader(source: Source, column: str | None) -> ListReader:
    rows = _sample_rows(_records(source))
    layout = _layout(source.form, rows, column)
    if layout.has_header and len(rows) == 1:
        raise _NoRowsError(
            f"{source.form.place} has a header ({_listed(layout.columns)}) and no rows below it; "
            "add one row for each domain"
        )
    return ListReader(
        source=source,
        columns=layout.columns,
        domain_column=layout.columns[layout.domain_index],
        header=layout.has_header,
    )


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
        raise _unreadable(str(path), error) from error


def _unreadable(place: str, error: OSError | ValueError) -> ListError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ListError(f"{place} cannot be read ({reason}); check the path and its permissions")


def _sample_rows(found: Iterator[Record]) -> list[list[str]]:
    rows: list[list[str]] = []
    size = 0
    for record in found:
        rows.append(record.cells)
        size += len(record.text)
        if len(rows) >= SAMPLE_ROWS or (len(rows) > 1 and size > PREFIX_BYTES):
            break
    return rows


def _layout(form: Form, rows: list[list[str]], column: str | None) -> ColumnLayout:
    if not rows:
        raise _NoRowsError(f"{form.place} has only remarks and no rows; add one domain a line")
    try:
        return choose_layout(rows, wanted=column, is_plain=form.is_plain, is_named=form.is_named)
    except NoDomainColumnError as error:
        if any(isinstance(cell, NoResult) for row in rows for cell in row):
            raise _NoRowsError(_without_results(form.place)) from error
        found = _listed(error.columns)
        if form.left_out:
            found += f"; not read, for they hold no text: {_listed(form.left_out)}"
        if error.wanted is not None:
            raise _NoRowsError(
                f"{form.place} has no column {error.wanted!r}; name one of {found} with --column"
            ) from error
        raise _NoRowsError(
            f"{form.place} has no column that looks like domains (found: {found}); "
            "name the right one with --column"
        ) from error


def _without_results(place: str, where: str = "") -> str:
    return (
        f"{place} has formulas whose results were not saved{where}; open it in Excel or "
        "LibreOffice and save it again, or export the list as CSV"
    )


def _listed(columns: tuple[str, ...]) -> str:
    shown = ", ".join(name[:60] for name in columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown


def _row(record: Record, domain_index: int, names: list[str]) -> ListRow:
    cells = record.cells
    attributes: dict[str, str] = {}
    for index, cell in enumerate(cells[:MAX_ATTRIBUTES]):
        if index != domain_index and not isinstance(cell, NoResult) and (text := cell.strip()):
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
