"""Read a list from a Parquet file: a few rows at a time, and of them the columns that hold text.

Numbers, dates and truth values become text as Arrow writes them. Nested columns (lists, structs,
maps) and columns of bytes that are no text are left out, and named in the form. What would unpack
to more than a list does is refused before it is unpacked (`parquet_pages`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.adapters.list_source import (
    MAX_RECORD_CHARS,
    MOST_UNPACKED_BYTES,
    Form,
    ListError,
    Record,
    as_text,
    most_unpacked_bytes,
    one_line,
)
from resources.adapters.parquet_pages import (
    WIDEST_NUMBER_BYTES,
    BrokenPageError,
    Chunk,
    ChunkPages,
    chunk_pages,
)

ROWS_AT_A_TIME = 2_000
SAMPLE_ROWS = 100
# A row group of wide rows is taken in smaller pieces.
_MOST_BYTES_AT_A_TIME = 32_000_000
_PIECE_BYTES = 1_048_576
_MOST_METADATA_BYTES = 16_000_000
# Arrow has a page of each column in hand. Writers make pages of a megabyte; a bomb of gigabytes.
_MOST_PAGES_BYTES = 192_000_000
_MOST_TEXT_BYTES = 8_000_000
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
                names = [self.columns[place] for place in places]
                expanded_bytes = 0
                for piece in _pieces(_batches(self.path, file, names)):
                    # Dictionaries make much of little, page after page.
                    expanded_bytes += piece.nbytes
                    if expanded_bytes > MOST_UNPACKED_BYTES:
                        raise ListError(
                            f"{self.path} unpacks to more than {MOST_UNPACKED_BYTES / 1e9:.0f} GB; "
                            "cut the list into several files"
                        )
                    _refuse_long_values(piece, self.path, line)
                    texts = [_texts(piece.column(name)) for name in names]
                    for row in zip(*texts, strict=True):
                        line += 1
                        cells = [""] * len(self.columns)
                        for place, cell in zip(places, row, strict=True):
                            cells[place] = cell
                        text = as_text(cells)
                        if len(text) > MAX_RECORD_CHARS:
                            raise _too_long(self.path, line)
                        yield Record(line, text, cells)
        except (pa.ArrowException, OSError) as error:
            raise ListError(
                f"{self.path} cannot be read on after row {line} ({one_line(error)}); "
                "write the Parquet file again"
            ) from error


def sources(
    path: Path,
    scratch: Path | None = None,  # noqa: ARG001  # as the other forms have it
) -> list[ParquetSource]:
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
            sample = next(_batches(path, file, maybe, most=SAMPLE_ROWS), None) if maybe else None
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
    _refuse_long_metadata(path)
    # Not pre-buffered: that would hold whole row groups, which may be the whole file.
    return pq.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=_PIECE_BYTES,
        thrift_string_size_limit=_MOST_METADATA_BYTES,
    )


def _refuse_long_metadata(path: Path) -> None:
    """Refuse a description of the file that takes more memory than the list itself."""
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - 8))
        length = int.from_bytes(stream.read(4), "little")
        is_whole = stream.read(4) == b"PAR1"
    if is_whole and length > _MOST_METADATA_BYTES:
        raise ListError(
            f"{path} describes its columns in {length:,} bytes, as no list does; write the "
            "Parquet file again with larger row groups, or export the list as CSV"
        )


def _batches(
    path: Path, file: pq.ParquetFile, columns: list[str], most: int = ROWS_AT_A_TIME
) -> Iterator[pa.RecordBatch]:
    unpacked_bytes = 0
    allowed_bytes = most_unpacked_bytes(path.stat().st_size)
    with path.open("rb") as stream:
        for group in range(file.metadata.num_row_groups):
            if not file.metadata.row_group(group).num_rows:
                continue
            try:
                pages = [chunk_pages(stream, one) for one in _chunks(file, group, columns)]
            except BrokenPageError as error:
                raise ListError(
                    f"{path} is a broken Parquet file ({error}); write it again"
                ) from error
            unpacked_bytes += sum(one.size_bytes for one in pages)
            at_once_bytes = sum(one.most_at_once_bytes for one in pages)
            if unpacked_bytes > allowed_bytes or at_once_bytes > _MOST_PAGES_BYTES:
                raise ListError(
                    f"{path} unpacks to more than a list does ({at_once_bytes:,} bytes at once, "
                    f"{unpacked_bytes:,} so far); write the Parquet file again with pages of a "
                    "megabyte, or export the list as CSV"
                )
            yield from file.iter_batches(
                batch_size=_rows_at_a_time(pages, most, at_once_bytes),
                row_groups=[group],
                columns=columns,
                use_threads=False,
            )


def _chunks(file: pq.ParquetFile, group: int, columns: Collection[str]) -> Iterator[Chunk]:
    """The pages of a group of rows that are unpacked for some columns."""
    wanted = frozenset(columns)
    described = file.metadata.row_group(group)
    for place in range(described.num_columns):
        one = described.column(place)
        if one.path_in_schema in wanted or one.path_in_schema.partition(".")[0] in wanted:
            starts = [one.data_page_offset]
            if one.has_dictionary_page and one.dictionary_page_offset:
                starts.append(one.dictionary_page_offset)
            yield Chunk(
                min(starts),
                one.total_compressed_size,
                one.compression,
                _value_bytes(one.physical_type, file.schema.column(place).length),
            )


def _value_bytes(physical_type: str, length: int) -> int | None:
    if physical_type == "BYTE_ARRAY":
        return None
    return length if physical_type == "FIXED_LEN_BYTE_ARRAY" else WIDEST_NUMBER_BYTES


def _rows_at_a_time(pages: Sequence[ChunkPages], most: int, at_once_bytes: int) -> int:
    """So many that they take little more than the pages that are in hand anyway."""
    allowed_bytes = max(_MOST_BYTES_AT_A_TIME, 2 * at_once_bytes)
    rows = most
    while rows > 1 and sum(one.most_bytes_of(rows) for one in pages) > allowed_bytes:
        rows //= 2
    return rows


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches of wide rows: as Python's text they take several times as much."""
    for batch in batches:
        row_bytes = batch.nbytes // max(1, batch.num_rows)
        rows = max(1, min(batch.num_rows, _MOST_TEXT_BYTES // max(1, row_bytes)))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _refuse_long_values(batch: pa.RecordBatch, path: Path, line: int) -> None:
    for column in batch.columns:
        storage = _storage(column)
        if pa.types.is_string(storage.type) or pa.types.is_large_string(storage.type):
            storage = storage.cast(
                pa.binary() if pa.types.is_string(storage.type) else pa.large_binary()
            )
        if _is_binary(storage.type) and not pa.types.is_binary_view(storage.type):
            longest = pc.max(pc.binary_length(storage)).as_py() or 0
            if longest > 4 * MAX_RECORD_CHARS:
                raise _too_long(path, line + 1)


def _too_long(path: Path, line: int) -> ListError:
    return ListError(
        f"{path} has more than {MAX_RECORD_CHARS:,} characters in a row, at or after row {line}; "
        "a list has one domain a row, check what the file is"
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
