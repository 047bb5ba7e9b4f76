"""Lists in Parquet files: what becomes text, what is left out, and what is refused."""

from __future__ import annotations

import datetime
import decimal
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.adapters.list_reader import ListError, ListRow, open_list

DOMAINS = ["acme.com", "beta.com"]


def _list(folder: Path, columns: dict[str, object], **options: object) -> Path:
    path = folder / "list.csv"  # told apart by content
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_rows_of_a_parquet_file_are_numbered_and_their_columns_have_names(tmp_path: Path) -> None:
    reader = open_list(
        _list(tmp_path, {"company": ["Acme", None, "Gamma"], "website": [*DOMAINS, None]})
    )
    assert (reader.header, reader.domain_column) == (True, "website")
    assert list(reader) == [
        ListRow(1, "Acme,acme.com", "acme.com", {"company": "Acme"}),
        ListRow(2, ",beta.com", "beta.com", {}),
        ListRow(3, "Gamma", "", {"company": "Gamma"}),
    ]
    assert reader.heading() == ["company", "website"]
    assert [cells for _, cells in reader.with_cells()][2] == ["Gamma", ""]


def test_a_column_whose_name_looks_like_a_domain_is_still_a_name(tmp_path: Path) -> None:
    reader = open_list(_list(tmp_path, {"my.site": DOMAINS, "note.de": ["a", "b"]}))
    assert [row.value for row in reader] == DOMAINS
    assert next(iter(reader)).attributes == {"note.de": "a"}


def test_numbers_dates_and_truth_values_become_text(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 5, 1, 13, 30, tzinfo=datetime.UTC)
    columns = {
        "domain": ["acme.com"],
        "whole": [7],
        "float": [7.0],
        "part": [0.25],
        "exact": [decimal.Decimal("1.20")],
        "is": [True],
        "day": [datetime.date(2024, 5, 1)],
        "moment": pa.array([moment], pa.timestamp("ns", "UTC")),
        "kind": pa.array(["x"]).dictionary_encode(),
        "large": pa.array(["y"], pa.large_string()),
    }
    (row,) = open_list(_list(tmp_path, columns))
    assert row.attributes == {
        "whole": "7",
        "float": "7",
        "part": "0.25",
        "exact": "1.20",
        "is": "true",
        "day": "2024-05-01",
        "moment": "2024-05-01 13:30:00Z",
        "kind": "x",
        "large": "y",
    }


def test_what_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    columns = {
        "tags": [["a"], ["b"]],
        "place": [{"city": "Bonn"}, None],
        "logo": [b"\x89PNG", b"\xff"],
        "domain": DOMAINS,
        "took": [datetime.timedelta(1), None],
    }
    reader = open_list(_list(tmp_path, columns))
    assert reader.columns == ("domain",)
    assert reader.form.left_out == ("tags", "place", "logo", "took")
    assert [row.value for row in reader] == DOMAINS
    with pytest.raises(
        ListError, match=r"no column 'tags'; name one of domain; not read, .*: tags"
    ):
        open_list(tmp_path / "list.csv", column="tags")


def test_bytes_that_are_text_are_read_as_impala_writes_them(tmp_path: Path) -> None:
    columns = {"domain": [b"acme.com", b"beta.com"], "name": ["Köln".encode(), None]}
    rows = list(open_list(_list(tmp_path, columns)))
    assert [row.value for row in rows] == DOMAINS
    assert rows[0].attributes == {"name": "Köln"}


def test_bytes_that_stop_being_utf_8_spoil_only_their_own_value(tmp_path: Path) -> None:
    names = [b"fine"] * 3_000 + [b"Caf\xe9", b"last"]
    columns = {"domain": ["acme.com"] * 3_002, "name": names}
    rows = list(open_list(_list(tmp_path, columns)))
    assert [row.attributes["name"] for row in rows[-2:]] == ["Caf\ufffd", "last"]


def test_a_list_may_have_several_row_groups_and_very_long_values(tmp_path: Path) -> None:
    count = 5_000
    columns = {
        "domain": [f"c{number}.com" for number in range(count)],
        "note": ["x" * 4_000] * count,
    }
    rows = list(open_list(_list(tmp_path, columns, row_group_size=1_700)))
    assert [row.line for row in rows] == list(range(1, count + 1))
    assert [row.value for row in rows] == columns["domain"]
    assert {len(row.attributes["note"]) for row in rows} == {500}


def test_of_many_columns_only_the_first_and_the_domains_are_kept(tmp_path: Path) -> None:
    columns = {f"c{number}": [str(number)] * 2 for number in range(200)} | {"domain": DOMAINS}
    reader = open_list(_list(tmp_path, columns))
    assert [row.value for row in reader] == DOMAINS
    assert len(next(iter(reader)).attributes) == 50
    assert next(iter(reader.with_cells()))[1] == [
        *(str(number) for number in range(200)),
        "acme.com",
    ]


def test_columns_of_one_name_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    arrays = [pa.array(DOMAINS), pa.array(["1", "2"]), pa.array(["3", "4"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["domain", "x", "x"]), path)
    reader = open_list(path)
    assert (reader.columns, reader.form.left_out) == (("domain",), ("x",))
    assert [row.value for row in reader] == DOMAINS


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["Acme"]}, r"no column that looks like domains \(found: name\)"),
        ({"domain": pa.array([], pa.string())}, r"header \(domain\) and no rows"),
        ({"logo": [b"\xff"]}, "without a column of text"),
    ],
    ids=["no domains", "no rows", "no text"],
)
def test_a_parquet_file_without_a_list_is_refused(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(ListError, match=message):
        open_list(_list(tmp_path, columns))


def test_a_file_that_was_cut_off_or_spoilt_is_read_or_refused_in_one_sentence(
    tmp_path: Path,
) -> None:
    count = 3_000
    columns = {"domain": [f"c{number}.com" for number in range(count)], "n": list(range(count))}
    path = _list(tmp_path, columns, compression="zstd", write_page_checksum=True)
    sound = path.read_bytes()
    path.write_bytes(sound[:-100])
    with pytest.raises(ListError, match="broken, cut off or encrypted"):
        open_list(path)
    random_ = random.Random(5)
    refused: list[str] = []
    for _ in range(200):
        spoilt = bytearray(sound)
        for _ in range(random_.randrange(1, 6)):
            spoilt[random_.randrange(4, len(spoilt))] = random_.randrange(256)
        path.write_bytes(spoilt)
        try:
            list(open_list(path))
        except ListError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in sentence for sentence in refused)
