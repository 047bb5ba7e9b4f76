"""Files of rows that a command writes: CSV, Parquet or JSON lines, each whole or not at all.

Rows come in parts, and no more than one part is held. Not here: which rows.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from resources.adapters.spreadsheet import safe_cell
from resources.core.errors import UsageError

SUFFIXES = (".csv", ".parquet", ".jsonl")
Cells = Sequence[Any]


class RowFile(Protocol):
    """Takes rows, each with one cell for each column."""

    def write(self, rows: Sequence[Cells]) -> None: ...

    def close(self) -> None: ...


class _Csv:
    """UTF-8 with BOM, as spreadsheet programs expect it; no cell is taken for a formula."""

    def __init__(self, path: Path, heading: Sequence[str]) -> None:
        self._handle = path.open("w", encoding="utf-8-sig", newline="", errors="replace")
        self._writer = csv.writer(self._handle)
        self._writer.writerow([safe_cell(name) for name in heading])

    def write(self, rows: Sequence[Cells]) -> None:
        self._writer.writerows([safe_cell(cell) for cell in row] for row in rows)

    def close(self) -> None:
        self._handle.close()


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, rows: Sequence[Cells]) -> None:
        if not rows:
            return
        columns = zip(*rows, strict=True)
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """One object a line; `evidence` is nested, not JSON within text."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._names = names
        self._handle = path.open("wb")

    def write(self, rows: Sequence[Cells]) -> None:
        for row in rows:
            cells = dict(zip(self._names, row, strict=True))
            if isinstance(cells.get("evidence"), str):
                cells["evidence"] = orjson.loads(cells["evidence"])
            self._handle.write(orjson.dumps(cells) + b"\n")

    def close(self) -> None:
        self._handle.close()


def check_output(path: Path) -> None:
    """Refuse a file that can't be written, before any work is done.

    Raises:
        UsageError: says what is wrong and what would be right.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path} has no ending that says how to write it; use {', '.join(SUFFIXES)}."
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}; make it first.")


@contextmanager
def row_file(path: Path, schema: pa.Schema, heading: Sequence[str]) -> Iterator[RowFile]:
    """A file that takes rows and lies at `path`, whole, once the block has ended without error.

    Args:
        path: Its ending says the format; see `check_output`.
        schema: Columns with unique names, and their types.
        heading: Names of the columns as CSV shows them; need not be unique.

    Raises:
        UsageError: the system would not write it.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        file = _begun(temporary, path.suffix.lower(), schema, heading)
        try:
            yield file
        finally:
            file.close()
        _keep(temporary, path)
    except OSError as error:
        raise UsageError(
            f"{path} could not be written: {error.strerror or error}. "
            "Free space or choose another place; nothing was changed."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _begun(path: Path, suffix: str, schema: pa.Schema, heading: Sequence[str]) -> RowFile:
    match suffix:
        case ".csv":
            return _Csv(path, heading)
        case ".parquet":
            return _Parquet(path, schema)
        case _:
            return _JsonLines(path, schema.names)


def _keep(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)  # mkstemp makes files that nobody else may read
    temporary.replace(path)
