"""Small files that unpack to gigabytes: refused in one sentence, or read in little memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.list_memory import read_apart
from tests.support.workbooks import MAIN, raw_workbook, sheet_xml

LONG = "x" * 900_000


def _repeated(value: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [value])


def _parquet(path: Path, columns: dict[str, object], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **{"compression": "zstd", **options})
    assert path.stat().st_size < 1_000_000
    return path


# -- Parquet --------------------------------------------------------------------------------------


def test_a_page_that_unpacks_to_very_much_is_refused_before_it_is(tmp_path: Path) -> None:
    notes = pa.chunked_array([[LONG * 4]] * 100)
    columns = {"domain": ["acme.com"] * 100, "note": notes}
    path = _parquet(tmp_path / "a.parquet", columns, use_dictionary=False, data_page_size=2**30)
    found = read_apart(path)
    assert "unpacks to more than a list does" in found.refusal
    assert found.megabytes < 50


def test_many_pages_that_unpack_to_very_much_are_refused(tmp_path: Path) -> None:
    columns = {"domain": ["acme.com"] * 100, "note": [LONG] * 100}
    path = _parquet(tmp_path / "a.parquet", columns, use_dictionary=False, data_page_size=1_000)
    found = read_apart(path)
    assert "unpacks to more than a list does" in found.refusal
    assert found.megabytes < 150


def test_a_dictionary_with_one_long_value_in_each_row_takes_little_memory(tmp_path: Path) -> None:
    """2.7 GB in 3,000 rows, out of a file of some kilobytes."""
    columns = {"domain": ["acme.com"] * 3_000, "note": _repeated(LONG, 3_000)}
    found = read_apart(_parquet(tmp_path / "a.parquet", columns))
    assert (found.rows, found.refusal) == (3_000, "")
    assert found.megabytes < 200


def test_values_that_begin_as_the_one_before_take_little_memory(tmp_path: Path) -> None:
    columns = {"domain": ["acme.com"] * 500, "note": [LONG] * 500}
    path = _parquet(
        tmp_path / "a.parquet",
        columns,
        use_dictionary=False,
        column_encoding={"note": "DELTA_BYTE_ARRAY", "domain": "PLAIN"},
    )
    found = read_apart(path)
    assert (found.rows, found.refusal) == (500, "")
    assert found.megabytes < 200


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_a_value_longer_than_any_row_is_refused(tmp_path: Path, is_dictionary: bool) -> None:
    notes = _repeated(LONG * 5, 3) if is_dictionary else [LONG * 5] * 3
    columns = {"domain": ["acme.com"] * 3, "note": notes}
    found = read_apart(_parquet(tmp_path / "a.parquet", columns, use_dictionary=is_dictionary))
    assert "more than 1,000,000 characters in a row, at or after row 1;" in found.refusal


def test_a_description_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"domain": ["acme.com"]}).replace_schema_metadata({"x": "y" * 20_000_000})
    pq.write_table(table, path)
    found = read_apart(path)
    assert "describes its columns in" in found.refusal
    assert found.megabytes < 50


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_however_the_pages_are_packed_an_ordinary_list_is_read(
    tmp_path: Path, codec: str, version: str
) -> None:
    path = tmp_path / "a.parquet"
    count = 50_000
    columns = {
        "domain": [f"company-{number}.example" for number in range(count)],
        "country": ["DE", "FR"] * (count // 2),
        "size": list(range(count)),
        "none": pa.nulls(count, pa.string()),
        "fixed": pa.array([b"abcd"] * count, pa.binary(4)),
    }
    pq.write_table(
        pa.table(columns),
        path,
        compression=codec,
        data_page_version=version,
        data_page_size=5_000,
        row_group_size=20_000,
    )
    found = read_apart(path)
    assert (found.rows, found.refusal) == (count, "")
    assert found.megabytes < 100


# -- workbooks ------------------------------------------------------------------------------------


def _strings(*strings: str) -> str:
    items = "".join(f"<si><t>{string}</t></si>" for string in strings)
    return f'<sst xmlns="{MAIN}">{items}</sst>'


def test_a_row_of_cells_that_refer_to_one_long_string_takes_little_memory(tmp_path: Path) -> None:
    """16,000 cells of 900,000 characters are 14 GB, and stand in some kilobytes."""
    cells = '<c t="s"><v>1</v></c>' * 16_000
    sheet = sheet_xml(f'<row><c t="s"><v>0</v></c>{cells}</row>')
    path = raw_workbook(tmp_path / "a.xlsx", sheet, strings=_strings("acme.com", LONG))
    found = read_apart(path)
    assert "row 1 has more than 1,000,000 characters" in found.refusal
    assert found.megabytes < 50


def test_rows_that_refer_to_one_long_string_are_no_endless_work(tmp_path: Path) -> None:
    rows = '<row><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>' * 20_000
    path = raw_workbook(tmp_path / "a.xlsx", sheet_xml(rows), strings=_strings("acme.com", LONG))
    found = read_apart(path)
    assert "repeats its strings to more than" in found.refusal
    assert found.megabytes < 100


def test_a_string_without_an_end_takes_little_memory(tmp_path: Path) -> None:
    sheet = sheet_xml('<row><c t="s"><v>0</v></c></row>')
    piece = "<r><t>" + "x" * 1_000 + "</t></r>"
    endless = f'<sst xmlns="{MAIN}"><si>{piece * 15_000}</si></sst>'
    found = read_apart(raw_workbook(tmp_path / "a.xlsx", sheet, strings=endless))
    assert "a string has more than 1,000,000 characters" in found.refusal
    assert found.megabytes < 50


def test_strings_that_unpack_to_far_more_than_a_list_are_refused(tmp_path: Path) -> None:
    sheet = sheet_xml('<row><c t="s"><v>0</v></c></row>')
    path = raw_workbook(tmp_path / "a.xlsx", sheet, strings=_strings(*["x" * 500_000] * 300))
    found = read_apart(path)
    assert "unpacks to more than 200 times its size" in found.refusal
    assert found.megabytes < 50


def test_millions_of_strings_are_kept_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    sheet = sheet_xml('<row><c t="s"><v>2999999</v></c></row>')
    strings = _strings(*(f"company-{number}.com" for number in range(3_000_000)))
    found = read_apart(raw_workbook(tmp_path / "a.xlsx", sheet, strings=strings))
    assert (found.rows, found.refusal) == (1, "")
    assert found.megabytes < 20
