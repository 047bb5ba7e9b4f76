"""Read a list from a Parquet file: a few rows at a time, and of them the columns that hold text.

Numbers, dates and truth values become text as Arrow writes them. Nested columns (lists, structs,
maps) and columns of bytes that are no text are left out, and named in the form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.adapters.list_source import Form, ListError, Record, as_text, one_line

ROWS_AT_A_TIME = 2_000
SAMPLE_ROWS = 100
# A row group of wide rows is taken in smaller pieces.
_MOST_BYTES_AT_A_TIME = 16_000_000
_PIECE_BYTES = 1_048_576
_MOST_METADATA_BYTES = 100_000_000
_ZERO_FRACTION = r"\.0+([+Z-]|$)"


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """The records of a Parquet file; the names of its columns are the first.

    Attributes:
        columns: Names of the columns that are read, in the order of the file.
    """

    path: Path
    form: Form
    columns: tuple[str, ...]

    def records(self, needed: Collection[int] | None = None) -> Iterator[Record]:
        """Yield all records; only the columns that are needed are read from the disk."""
        places = [place for place in range(len(self.columns)) if needed is None or place in needed]
        yield Record(0, as_text(list(self.columns)), list(self.columns))
        line = 0
        try:
            with _opened(self.path) as file:
                for batch in _batches(file, [self.columns[place] for place in places]):
                    texts = [_texts(batch.column(self.columns[place])) for place in places]
                    for row in zip(*texts, strict=True):
                        line += 1
                        cells = [""] * len(self.columns)
                        for place, cell in zip(places, row, strict=True):
                            cells[place] = cell
                        yield Record(line, as_text(cells), cells)
        except (pa.ArrowException, OSError) as error:
            raise ListError(
                f"{self.path} cannot be read on after row {line} ({one_line(error)}); "
                "write the Parquet file again"
            ) from error


def sources(path: Path) -> list[ParquetSource]:
    """Find out which columns of a Parquet file can be read.

    Raises:
        ListError: It is broken, cut off or encrypted, or has no column of text.
    """
    try:
        with _opened(path) as file:
            is_text = {
                field.name: _is_text(field.type) and _is_unique(file, field.name)
                for field in file.schema_arrow
            }
            maybe = [
                field.name
                for field in file.schema_arrow
                if _is_binary(field.type) and _is_unique(file, field.name)
            ]
            sample = next(_batches(file, maybe, most=SAMPLE_ROWS), None) if maybe else None
            if sample is not None:
                is_text |= {name: _holds_text(sample.column(name)) for name in maybe}
    except (pa.ArrowException, OSError) as error:
        raise ListError(
            f"{path} is a Parquet file that is broken, cut off or encrypted ({one_line(error)}); "
            "write it again"
        ) from error
    left_out = tuple(name for name, is_read in is_text.items() if not is_read)
    columns = tuple(name for name, is_read in is_text.items() if is_read)
    if not columns:
        raise ListError(f"{path} is a Parquet file without a column of text; write the domains so")
    return [ParquetSource(path, Form(str(path), is_named=True, left_out=left_out), columns)]


def _opened(path: Path) -> pq.ParquetFile:
    # Not pre-buffered: that would hold whole row groups, which may be the whole file.
    return pq.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=_PIECE_BYTES,
        thrift_string_size_limit=_MOST_METADATA_BYTES,
    )


def _batches(
    file: pq.ParquetFile, columns: list[str], most: int = ROWS_AT_A_TIME
) -> Iterator[pa.RecordBatch]:
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        row_bytes = described.total_byte_size // max(1, described.num_rows)
        rows = max(1, min(most, _MOST_BYTES_AT_A_TIME // max(1, row_bytes)))
        yield from file.iter_batches(
            batch_size=rows, row_groups=[group], columns=columns, use_threads=False
        )


def _is_unique(file: pq.ParquetFile, name: str) -> bool:
    """Tell whether a column can be asked for by its name."""
    return len(file.schema_arrow.get_all_field_indices(name)) == 1


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether every value of a column can be written as text."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if _is_binary(kind) or pa.types.is_duration(kind):
        return False
    try:
        pc.cast(pa.nulls(0, kind), pa.string())
    except pa.ArrowException:
        return False
    return True


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _holds_text(column: pa.Array) -> bool:
    """Tell whether bytes are text that its writer did not call so, as Impala and old Spark do."""
    try:
        return all(text is None or text.isprintable() for text in _cast(column).to_pylist())
    except pa.ArrowException:
        return False


def _texts(column: pa.Array) -> list[str]:
    try:
        found = _cast(column).to_pylist()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        found = [
            None if value is None else value.decode("utf-8", "replace")
            for value in pc.cast(_storage(column), pa.binary()).to_pylist()
        ]
    return ["" if text is None else text for text in found]


def _cast(column: pa.Array) -> pa.Array:
    text = pc.cast(_storage(column), pa.string())
    if pa.types.is_temporal(column.type):
        text = pc.replace_substring_regex(text, _ZERO_FRACTION, r"\1")
    return text


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column
