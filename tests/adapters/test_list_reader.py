"""Lists as people send them: found out by content, read row by row, refused in one sentence."""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.adapters.list_reader import (
    ListError,
    ListReader,
    ListRow,
    file_digest,
    hints,
    open_list,
)
from resources.adapters.suffix_list import bundled_rules
from resources.core.domains import NormalizedDomain, normalize

REAL_LIST = Path(__file__).parents[3] / "shared/data/domains.csv"


def _list(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _values(reader: ListReader) -> list[str]:
    return [row.value for row in reader]


def test_a_row_carries_its_line_its_text_and_the_other_cells(tmp_path: Path) -> None:
    path = _list(tmp_path, "Domain, Company Name ,Country\nacme.com,Acme,DE\n\nbeta.com,,\n")
    reader = open_list(path)
    assert (reader.columns, reader.domain_column) == (
        ("Domain", "Company Name", "Country"),
        "Domain",
    )
    assert (reader.form.encoding, reader.form.delimiter, reader.header) == ("utf-8", ",", True)
    assert list(reader) == [
        ListRow(2, "acme.com,Acme,DE", "acme.com", {"company name": "Acme", "country": "DE"}),
        ListRow(4, "beta.com,,", "beta.com", {}),
    ]


def test_a_list_can_be_read_twice(tmp_path: Path) -> None:
    reader = open_list(_list(tmp_path, "domain\nacme.com\n"))
    assert _values(reader) == _values(reader) == ["acme.com"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_whatever_the_file_is_called(tmp_path: Path, delimiter: str) -> None:
    rows = [["name", "website"], ["Acme Co", "acme.com"], ["Beta", "beta.com"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    reader = open_list(_list(tmp_path, text, "list.txt"))
    assert (reader.form.delimiter, reader.domain_column) == (delimiter, "website")
    assert _values(reader) == ["acme.com", "beta.com"]


def test_commas_in_names_do_not_hide_a_semicolon(tmp_path: Path) -> None:
    text = "domain;name\nacme.com;Acme, Inc.\nbeta.com;Beta, Ltd.\ngamma.com;Gamma, LLC\n"
    reader = open_list(_list(tmp_path, text))
    assert reader.form.delimiter == ";"
    assert next(iter(reader)).attributes == {"name": "Acme, Inc."}


def test_excels_separator_line_is_obeyed_and_is_no_row(tmp_path: Path) -> None:
    reader = open_list(_list(tmp_path, "sep=;\ndomain;name\nacme.com;Acme\n"))
    assert [(row.line, row.value) for row in reader] == [(3, "acme.com")]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("domain,name\nacme.com,M\u00fcller\n".encode(), "utf-8"),
        ("domain,name\nacme.com,M\u00fcller\n".encode("utf-8-sig"), "utf-8-sig"),
        ("domain,name\nacme.com,M\u00fcller\n".encode("latin-1"), "cp1252"),
        ("domain,name\nacme.com,M\u00fcller\n".encode("utf-16"), "utf-16"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, content: bytes, encoding: str) -> None:
    reader = open_list(_list(tmp_path, content))
    assert (reader.form.encoding, reader.columns) == (encoding, ("domain", "name"))
    assert [row.attributes["name"] for row in reader] == ["M\u00fcller"]


def test_a_latin_1_byte_late_in_a_utf_8_list_spoils_nothing_else(tmp_path: Path) -> None:
    rows = [f"site{number}.com,Caf\u00e9".encode() for number in range(40_000)]
    rows.append("late.com,Se\u00f1or \x80".encode("latin-1"))
    rows.append("last.com,Caf\u00e9".encode())
    reader = open_list(_list(tmp_path, b"domain,name\n" + b"\n".join(rows)))
    assert reader.form.encoding == "utf-8"
    last = list(reader)[-2:]
    assert [row.attributes["name"] for row in last] == ["Se\u00f1or \u20ac", "Caf\u00e9"]


def test_one_bad_byte_does_not_make_a_utf_8_list_latin_1(tmp_path: Path) -> None:
    content = "domain,name\na.com,M\u00fcller\nb.com,B\u00f6hm\nc.com,".encode() + b"Caf\xe9\n"
    reader = open_list(_list(tmp_path, content))
    assert [row.attributes["name"] for row in reader] == ["M\u00fcller", "B\u00f6hm", "Caf\u00e9"]


@pytest.mark.parametrize(
    "header",
    ["domain", "Website", "URL", "Company Domain", "company_domain", "HOMEPAGE", "Web", "host",
     "E-Mail", "e-mail", "email address", " Company-Website "],
)  # fmt: skip
def test_the_column_is_found_by_its_name(tmp_path: Path, header: str) -> None:
    reader = open_list(_list(tmp_path, f"id,{header},note.txt\n1,www.acme.com,a.txt\n"))
    assert reader.domain_column == header.strip()
    assert _values(reader) == ["www.acme.com"]


def test_a_domain_is_preferred_to_an_address_but_not_if_it_is_empty(tmp_path: Path) -> None:
    both = "email,domain\njane@mail.com,acme.com\n"
    assert open_list(_list(tmp_path, both)).domain_column == "domain"
    empty = "email,domain\njane@acme.com,\njohn@beta.com,\n"
    assert open_list(_list(tmp_path, empty)).domain_column == "email"


def test_the_column_is_found_by_its_looks(tmp_path: Path) -> None:
    text = "Kunde,Wert,Adresse im Netz\nAcme,1.500,https://acme.com/\nBeta,2.700,beta.com\n"
    assert open_list(_list(tmp_path, text)).domain_column == "Adresse im Netz"


def test_a_named_column_is_taken_in_any_case(tmp_path: Path) -> None:
    path = _list(tmp_path, "domain,Mail Host\nacme.com,mx.acme.com\n")
    assert _values(open_list(path, column="MAIL host")) == ["mx.acme.com"]
    assert _values(open_list(path, column="mail_host")) == ["mx.acme.com"]


def test_without_a_header_the_first_row_is_a_row(tmp_path: Path) -> None:
    path = _list(tmp_path, "Acme,acme.com,mx.acme.net\nBeta,beta.com,mx.beta.net\n")
    reader = open_list(path)
    assert (reader.header, reader.columns) == (False, ("column_1", "column_2", "column_3"))
    assert [(row.line, row.value) for row in reader] == [(1, "acme.com"), (2, "beta.com")]
    for name in ("column_3", "3"):
        assert _values(open_list(path, column=name)) == ["mx.acme.net", "mx.beta.net"]


def test_plain_text_has_one_value_a_line_and_remarks(tmp_path: Path) -> None:
    text = "# our customers\nlocalhost\n\nhttps://acme.com/a,b\n  # more\nbeta.com # old\n"
    reader = open_list(_list(tmp_path, text))
    assert (reader.header, reader.form.delimiter) == (False, None)
    assert [(row.line, row.value) for row in reader] == [
        (2, "localhost"),
        (4, "https://acme.com/a"),
        (6, "beta.com"),
    ]


@pytest.mark.parametrize("header", ["domain", '"Domain"', "Company Website", "URLs"])
def test_plain_text_may_have_a_header(tmp_path: Path, header: str) -> None:
    reader = open_list(_list(tmp_path, f"{header}\nacme.com\n"))
    assert (reader.header, _values(reader)) == (True, ["acme.com"])


def test_an_unknown_first_line_of_a_plain_text_is_never_lost_as_a_header(tmp_path: Path) -> None:
    assert _values(open_list(_list(tmp_path, "com\nacme.com\n"))) == ["com", "acme.com"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_count_as_one_line(tmp_path: Path, end: str) -> None:
    reader = open_list(_list(tmp_path, end.join(["domain,name", "acme.com,A", "", "beta.com,B"])))
    assert [(row.line, row.value) for row in reader] == [(2, "acme.com"), (4, "beta.com")]


def test_a_quoted_cell_may_run_over_lines_and_keep_delimiters(tmp_path: Path) -> None:
    text = 'domain,note\nacme.com,"first, ""one""\nsecond"\nbeta.com,x\n'
    rows = list(open_list(_list(tmp_path, text)))
    assert [(row.line, row.value) for row in rows] == [(2, "acme.com"), (4, "beta.com")]
    assert rows[0].attributes == {"note": 'first, "one"\nsecond'}
    assert rows[0].raw == 'acme.com,"first, ""one""\nsecond"'


@pytest.mark.parametrize(
    "stray",
    ['"bad.com,x', 'bad.com,"x', 'bad.com,x"', '5" pipes,x', '"bad.com",x,"y'],
)
def test_a_stray_quote_swallows_no_other_row(tmp_path: Path, stray: str) -> None:
    good = [f"site{number}.com,n{number},z" for number in range(2_000)]
    lines = ["domain,name,place", *good[:1_000], stray, *good[1_000:]]
    found = list(open_list(_list(tmp_path, "\n".join(lines))))
    assert len(found) == 2_001
    assert [row.line for row in found] == list(range(2, 2_003))
    assert [row.raw for row in found] == lines[1:]


def test_two_stray_quotes_swallow_no_row_between_them(tmp_path: Path) -> None:
    text = 'domain,name\n"a.com,A\nb.com,B\nc.com,C\n"d.com,D\ne.com,E\n'
    rows = list(open_list(_list(tmp_path, text)))
    assert [row.line for row in rows] == [2, 3, 4, 5, 6]
    domains = [normalize(row.value, bundled_rules()) for row in rows]
    assert domains == [NormalizedDomain(f"{letter}.com") for letter in "abcde"]


def test_quotes_that_are_not_doubled_do_not_shift_the_cells(tmp_path: Path) -> None:
    text = 'name,domain\n"Acme, "The" Co",acme.com\n"Beta" Ltd,beta.com\n'
    assert _values(open_list(_list(tmp_path, text))) == ["acme.com", "beta.com"]


def test_a_huge_quoted_cell_ends_nothing(tmp_path: Path) -> None:
    text = f'domain,note\nacme.com,"{"x" * 300_000}"\nbeta.com,y\n'
    assert _values(open_list(_list(tmp_path, text))) == ["acme.com", "beta.com"]


def test_a_row_with_too_few_or_too_many_cells_is_still_a_row(tmp_path: Path) -> None:
    text = "name,domain,country\nAcme\nBeta,beta.com,DE,extra\n,gamma.com\n,,\n"
    rows = list(open_list(_list(tmp_path, text)))
    assert [row.value for row in rows] == ["", "beta.com", "gamma.com", ""]
    assert rows[1].attributes == {"name": "Beta", "country": "DE", "column_4": "extra"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("acme.com; acme.de", "acme.com"),
        ("acme.com | beta.com", "acme.com"),
        ("acme.com beta.com", "acme.com"),
        ("n/a / acme.com", "acme.com"),
        ("Jane Doe <jane@acme.com>", "<jane@acme.com>"),
        ("Acme Inc", "Acme Inc"),
        ("a\x1cb.com", "a\x1cb.com"),
    ],
)
def test_of_several_values_in_a_cell_the_first_that_looks_like_a_domain_counts(
    tmp_path: Path, cell: str, value: str
) -> None:
    assert _values(open_list(_list(tmp_path, f"id,domain\n1,{cell}\n"))) == [value]


def test_what_is_kept_of_a_row_is_bounded(tmp_path: Path) -> None:
    wide = ",".join(["domain", *(f"c{number}" for number in range(200))])
    row = ",".join(["a" * 9_000, *["x" * 900] * 200])
    (found,) = open_list(_list(tmp_path, f"{wide}\n{row}\n"))
    assert len(found.raw) == 500
    assert 2_048 < len(found.value) < 5_000
    assert len(found.attributes) < 51
    assert max(map(len, found.attributes.values())) == 500


def test_a_row_with_a_nul_is_handed_out_to_be_rejected(tmp_path: Path) -> None:
    text = "domain\n" + "acme.com\n" * 20 + "b\x00d.com\nlast.com\n"
    assert _values(open_list(_list(tmp_path, text)))[-2:] == ["b\x00d.com", "last.com"]


def test_a_hundred_thousand_columns_of_one_name_are_told_apart_in_seconds(tmp_path: Path) -> None:
    wide = ",".join(["domain", *["x"] * 100_000])
    began_at = time.process_time()
    reader = open_list(_list(tmp_path, f"{wide}\nacme.com,a\n"))
    assert (reader.columns[1], reader.columns[2], reader.columns[-1]) == ("x", "x_2", "x_100000")
    assert time.process_time() - began_at < 20, "squared it would be hours"


def test_columns_of_the_same_name_or_none_are_told_apart(tmp_path: Path) -> None:
    reader = open_list(_list(tmp_path, "domain,,Note,note\nacme.com,1,2,3\n"))
    assert reader.columns == ("domain", "column_2", "Note", "note_2")
    assert next(iter(reader)).attributes == {"column_2": "1", "note": "2", "note_2": "3"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \r\n\n", "is empty"),
        (b"# nothing yet\n", "only remarks"),
        (b"domain,name\n", r"header \(domain, name\) and no rows"),
        (b"domain\n\n", r"header \(domain\) and no rows"),
        (b"name,city\nAcme,Berlin\n", r"no column .*\(found: name, city\).*--column"),
        (b"name\nAcme\n", r"no column .*\(found: name\).*--column"),
        (b"PK\x03\x04\x14\x00\x06\x00xl/", r"Excel workbook \(\.xlsx\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"old Excel workbook"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x00\x01\x02\x03" * 50, "binary file"),
        ("domain\n".encode("utf-16-le") + b"\x00\xd8a\x00", "decoded as UTF-16-LE"),
        ("domain\n".encode("utf-16") + b"\x00\xd8a\x00", "decoded as UTF-16"),
        ("domain\na.com\n".encode("utf-16") + b"a", "decoded as UTF-16"),
        ("domain\na.com\n".encode("utf-32"), "UTF-32"),
    ],
)
def test_what_cannot_be_a_list_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = _list(tmp_path, content)
    with pytest.raises(ListError, match=message) as caught:
        list(open_list(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = _list(tmp_path, "domain,name\nacme.com,Acme\n")
    with pytest.raises(ListError, match=r"no column 'site'; name one of domain, name with --col"):
        open_list(path, column="site")


def test_paths_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = _list(tmp_path, "acme.com\n")
    os.mkfifo(tmp_path / "pipe")
    for wrong, message in [
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "not a plain file"),
        (path / "below", r"cannot be read \(Not a directory\)"),
        (tmp_path / "a\x00b", "cannot be read"),
        (tmp_path / ("a" * 300), "cannot be read"),
    ]:
        with pytest.raises(ListError, match=message):
            open_list(wrong)


@pytest.mark.may_skip
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = _list(tmp_path, "acme.com\n")
    path.chmod(0)
    with pytest.raises(ListError, match="Permission denied"):
        open_list(path)


def test_a_list_that_vanishes_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = _list(tmp_path, "acme.com\n")
    reader = open_list(path)
    path.unlink()
    with pytest.raises(ListError, match="cannot be read"):
        list(reader)


def test_an_endless_line_is_refused_with_its_number_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.csv"
    with path.open("wb") as stream:
        stream.write(b"domain\n" + b"acme.com\n" * 500)
        for _ in range(30):
            stream.write(b"a" * 1_000_000)
    reader = open_list(path)
    tracemalloc.start()
    with pytest.raises(ListError, match=r"line 502 .* more than 1,000,000 characters"):
        list(reader)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


def test_an_endless_first_line_is_refused_when_the_list_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="line 1 "):
        open_list(_list(tmp_path, b"a" * 3_000_000))


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (2_000, 40_000):
        path = _list(tmp_path, "domain,name\n" + 'acme.com,"Acme, Inc."\n' * rows)
        reader = open_list(path)
        tracemalloc.start()
        assert sum(1 for _ in reader) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


_CSV_BYTES = st.sampled_from(
    [
        b"domain",
        b"a.com",
        b'"',
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b"\xe9",
        b"\x00",
        b"#",
        b" ",
    ]
)


def _ascii(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"domain\n", b"domain,name\n"]),
    st.binary(max_size=200) | st.lists(_CSV_BYTES, max_size=40).map(b"".join),
)
def test_whatever_the_bytes_a_list_is_refused_or_loses_no_line(
    tmp_path: Path, header: bytes, content: bytes
) -> None:
    path = _list(tmp_path, header + content)
    try:
        rows = list(open_list(path))
    except ListError:
        return
    kept = _ascii("\n".join(row.raw for row in rows))
    for line in re.split(r"[\r\n]", content.decode("utf-8", "ignore")):
        value = _ascii(line).strip()
        assert value in kept or value.startswith("#")


def test_the_digest_is_the_sha_256_of_the_bytes(tmp_path: Path) -> None:
    digest = file_digest(_list(tmp_path, "abc"))
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ListError, match="cannot be read"):
        file_digest(tmp_path / "none")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"company name": "Acme", "country": "us"}, ("Acme", "US")),
        ({"firma": "Acme", "land": "Germany"}, ("Acme", "DE")),
        ({"organisation": " ", "name": "Acme", "country_code": "UK"}, ("Acme", "GB")),
        ({"name": "Acme", "country": "Atlantis"}, ("Acme", None)),
        ({"country": "The  Netherlands"}, (None, "NL")),
        ({"country": "\u00dcK"}, (None, None)),
        ({"city": "Berlin"}, (None, None)),
    ],
)
def test_name_and_country_are_found_under_their_usual_names(
    attributes: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    assert hints(attributes) == expected


def test_every_row_of_a_real_list_is_accepted_a_duplicate_or_rejected() -> None:
    if not REAL_LIST.exists():
        pytest.skip("the shared list of real domains is not beside this repository")
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for row in open_list(REAL_LIST):
        counts["rows"] += 1
        result = normalize(row.value, bundled_rules())
        if not isinstance(result, NormalizedDomain):
            counts["rejected"] += 1
        elif result.domain in seen:
            counts["duplicates"] += 1
        else:
            seen.add(result.domain)
            counts["accepted"] += 1
    seconds = time.perf_counter() - started
    with REAL_LIST.open("rb") as stream:
        assert counts["rows"] == sum(1 for _ in stream) - 1
    assert counts["accepted"] + counts["duplicates"] + counts["rejected"] == counts["rows"]
    assert counts["accepted"] == len(seen) > 28_000
    assert counts["rejected"] < 20
    assert seconds < 10  # 0.6 s on two quiet cores; a busy machine must not fail the suite
