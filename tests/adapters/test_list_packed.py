"""Lists that are packed with gzip or written in UTF-16, and how far a bomb gets."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.adapters.list_reader import ListError, ListRow, open_list
from tests.support.workbooks import workbook

TEXT = "domain,name\nacme.com,Müller\nbeta.com,北京公司\n"


def _list(folder: Path, content: bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gzip"])
def test_every_text_may_be_in_utf_16_and_packed(
    tmp_path: Path, encoding: str, is_packed: bool
) -> None:
    content = TEXT.encode(encoding)
    reader = open_list(_list(tmp_path, gzip.compress(content) if is_packed else content))
    assert (reader.form.encoding, reader.form.is_packed) == (encoding, is_packed)
    assert list(reader) == [
        ListRow(2, "acme.com,Müller", "acme.com", {"name": "Müller"}),
        ListRow(3, "beta.com,北京公司", "beta.com", {"name": "北京公司"}),
    ]
    assert reader.heading() == ["domain", "name"]


def test_latin_1_and_semicolons_may_be_packed(tmp_path: Path) -> None:
    content = "domain;name\nacme.com;Müller, Söhne\n".encode("latin-1")
    reader = open_list(_list(tmp_path, gzip.compress(content)))
    assert (reader.form.encoding, reader.form.delimiter) == ("cp1252", ";")
    assert [row.attributes["name"] for row in reader] == ["Müller, Söhne"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_may_be_long_and_mostly_not_latin(
    tmp_path: Path, encoding: str
) -> None:
    random_ = random.Random(3)
    names = [
        "".join(chr(random_.randrange(0x4E00, 0x9F00)) for _ in range(9)) for _ in range(4_000)
    ]
    text = "".join(f"site{number}.com\t{name}\n" for number, name in enumerate(names))
    reader = open_list(_list(tmp_path, text.encode(encoding)))
    assert reader.form.encoding == encoding
    assert [row.attributes["column_2"] for row in reader] == names


def test_numbers_in_a_binary_file_are_not_taken_for_utf_16(tmp_path: Path) -> None:
    random_ = random.Random(4)
    samples = b"".join(random_.randrange(0, 200).to_bytes(2, "little") for _ in range(5_000))
    with pytest.raises(ListError, match="binary file"):
        open_list(_list(tmp_path, samples))


def test_a_gzip_file_of_several_members_is_one_list(tmp_path: Path) -> None:
    pieces = ["domain\nacme.com\nbe", "ta.com\n", "", "gamma.com\n"]
    content = b"".join(gzip.compress(piece.encode()) for piece in pieces) + bytes(512)
    rows = list(open_list(_list(tmp_path, content)))
    assert [(row.line, row.value) for row in rows] == [
        (2, "acme.com"),
        (3, "beta.com"),
        (4, "gamma.com"),
    ]


def test_a_gzip_file_that_was_cut_off_or_spoilt_is_refused_and_never_short(tmp_path: Path) -> None:
    random_ = random.Random(9)
    rows = [f"company-{random_.randrange(10**9)}.com" for _ in range(60_000)]
    packed = gzip.compress("\n".join(["domain", *rows]).encode())
    for at in (5, 100, len(packed) // 2, len(packed) - 4):
        with pytest.raises(ListError, match=r"is a gzip archive that was cut off; get the whole"):
            list(open_list(_list(tmp_path, packed[:at])))
    for at in (len(packed) // 2, len(packed) - 6):
        spoilt = bytearray(packed)
        spoilt[at] ^= 0xFF
        with pytest.raises(ListError, match="is a broken gzip archive"):
            list(open_list(_list(tmp_path, bytes(spoilt))))
    with pytest.raises(ListError, match="is a broken gzip archive"):
        list(open_list(_list(tmp_path, packed + b"what is this")))
    with pytest.raises(ListError, match="is empty"):
        open_list(_list(tmp_path, gzip.compress(b"")))


def test_only_texts_are_read_packed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"domain": ["acme.com"]}), tmp_path / "a.parquet")
    workbook(tmp_path / "a.xlsx", {"List": [["domain"], ["acme.com"]]})
    inner = [(tmp_path / name).read_bytes() for name in ("a.parquet", "a.xlsx")]
    inner.append(gzip.compress(b"acme.com"))
    for content, what in zip(inner, ["a Parquet file", "an Excel", "a gzip archive"], strict=True):
        with pytest.raises(ListError, match=f"that holds {what}.*; unpack it"):
            open_list(_list(tmp_path, gzip.compress(content)))
    with pytest.raises(ListError, match="is a binary file"):
        open_list(_list(tmp_path, gzip.compress(bytes(range(256)) * 9)))


def _bomb(path: Path, start: bytes, piece: bytes, times: int) -> Path:
    with gzip.open(path, "wb", compresslevel=6) as stream:
        stream.write(start)
        for _ in range(times):
            stream.write(piece)
    return path


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        ((b" " * 999 + b"\n") * 1_000, r"unpacks to more than 200 times its size"),
        ((b"a.com" + b" " * 994 + b"\n") * 1_000, r"unpacks to more than 200 times its size"),
        (b"a" * 1_000_000, r"line 2 .* more than 1,000,000 characters"),
    ],
    ids=["blank lines", "rows", "one line"],
)
def test_a_bomb_is_stopped_in_little_memory(tmp_path: Path, piece: bytes, message: str) -> None:
    path = _bomb(tmp_path / "list.csv.gz", b"domain\n", piece, 70)
    tracemalloc.start()
    with pytest.raises(ListError, match=message):
        for _ in open_list(path):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15_000_000


def test_the_same_row_again_and_again_is_no_bomb(tmp_path: Path) -> None:
    path = _bomb(tmp_path / "list.csv.gz", b"domain\n", b"acme.com\n" * 1_000, 300)
    assert sum(1 for _ in open_list(path)) == 300_000
