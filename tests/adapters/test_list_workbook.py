"""Lists in Excel workbooks: the right sheet, values as Excel shows them, and limits to archives."""

from __future__ import annotations

import datetime
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from resources.adapters.list_reader import ListError, ListReader, ListRow, open_list
from resources.adapters.workbook_parts import MOST_TOKEN_BYTES
from tests.support.workbooks import MAIN, raw_workbook, sheet_xml, text_row, workbook

ROWS = [["Website", "Company"], ["acme.com", "Acme"], ["beta.com", "Beta"]]


def _values(reader: ListReader) -> list[str]:
    return [row.value for row in reader]


def test_rows_of_a_workbook_carry_their_number_in_the_sheet(tmp_path: Path) -> None:
    rows = [["Website", "Company"], ["acme.com", "Acme"], [None, None], ["beta.com", None]]
    reader = open_list(workbook(tmp_path / "list.csv", {"Any": rows}))
    assert (reader.header, reader.domain_column) == (True, "Website")
    assert list(reader) == [
        ListRow(2, "acme.com,Acme", "acme.com", {"company": "Acme"}),
        ListRow(4, "beta.com", "beta.com", {}),
    ]
    assert reader.heading() == ["Website", "Company"]
    assert [cells for _, cells in reader.with_cells()] == [["acme.com", "Acme"], ["beta.com"]]


def test_a_workbook_may_have_no_header(tmp_path: Path) -> None:
    reader = open_list(
        workbook(tmp_path / "a.xlsx", {"Any": [["Acme", "acme.com"], ["B", "b.com"]]})
    )
    assert (reader.header, reader.columns) == (False, ("column_1", "column_2"))
    assert [(row.line, row.value) for row in reader] == [(1, "acme.com"), (2, "b.com")]


@pytest.mark.parametrize(
    ("sheets", "values"),
    [
        ({"Notes": [["about this file"]], "List": ROWS}, ["acme.com", "beta.com"]),
        ({"Empty": [], "List": ROWS}, ["acme.com", "beta.com"]),
        ({"Header": [["domain"]], "List": ROWS}, ["acme.com", "beta.com"]),
        ({".Old": [["domain"], ["old.com"]], "List": ROWS}, ["acme.com", "beta.com"]),
        ({"Looks": [["Acme", "looks.com"]], "List": ROWS}, ["acme.com", "beta.com"]),
        ({"Looks": [["Acme", "looks.com"]], "Names": [["name"], ["Acme"]]}, ["looks.com"]),
        ({"One": [["domain"], ["one.com"]], "Two": [["domain"], ["two.com"]]}, ["one.com"]),
    ],
    ids=["notes", "empty", "header", "hidden", "looks", "only looks", "two"],
)
def test_the_first_visible_sheet_with_a_column_of_domains_is_read(
    tmp_path: Path, sheets: dict[str, list[list[str]]], values: list[str]
) -> None:
    assert _values(open_list(workbook(tmp_path / "a.xlsx", sheets))) == values


def test_a_named_column_chooses_the_sheet_that_has_it(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"List": ROWS, "More": [["Mail Host"], ["mx.acme.com"]]})
    assert _values(open_list(path, column="mail host")) == ["mx.acme.com"]
    with pytest.raises(ListError, match=r"sheet 'List', has no column 'x'; name one of Website"):
        open_list(path, column="x")


def test_numbers_dates_and_truth_values_become_text(tmp_path: Path) -> None:
    row = [
        "acme.com",
        12345.0,
        0.1 + 0.2,
        1e20,
        -7,
        True,
        datetime.date(2024, 5, 1),
        datetime.datetime(2024, 5, 1, 13, 30),  # noqa: DTZ001
        datetime.time(9, 15),
        datetime.timedelta(hours=30),
    ]
    names = ["domain", "a", "b", "c", "d", "e", "f", "g", "h", "i"]
    (found,) = open_list(workbook(tmp_path / "a.xlsx", {"List": [names, row]}))
    assert found.attributes == {
        "a": "12345",
        "b": "0.3",
        "c": "1e+20",
        "d": "-7",
        "e": "TRUE",
        "f": "2024-05-01",
        "g": "2024-05-01 13:30:00",
        "h": "09:15:00",
        "i": "1 day, 6:00:00",
    }


def test_dates_of_an_old_mac_begin_in_1904(tmp_path: Path) -> None:
    styles = f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="14"/></cellXfs></styleSheet>'
    path = raw_workbook(
        tmp_path / "a.xlsx",
        sheet_xml('<row><c t="str"><v>acme.com</v></c><c s="0"><v>1</v></c></row>'),
        styles=styles,
        workbook_properties='<workbookPr date1904="1"/>',
    )
    assert [row.attributes["column_2"] for row in open_list(path)] == ["1904-01-02"]


def test_of_a_formula_the_last_result_counts(tmp_path: Path) -> None:
    path = raw_workbook(
        tmp_path / "a.xlsx",
        sheet_xml(
            text_row(1, "domain", "name")
            + '<row r="2"><c r="A2" t="str"><f>B2&amp;".com"</f><v>acme.com</v></c>'
            '<c r="B2"><f>1+1</f><v>2</v></c></row>'
            '<row r="3"><c r="A3" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
        ),
    )
    rows = list(open_list(path))
    assert [row.value for row in rows] == ["acme.com", "#DIV/0!"]
    assert rows[0].attributes == {"name": "2"}


def _formulas(tmp_path: Path, header: str, *cells: str) -> Path:
    rows = "".join(f"<row>{cell}<c><v>{place}</v></c></row>" for place, cell in enumerate(cells))
    return raw_workbook(tmp_path / "a.xlsx", sheet_xml(text_row(1, header, "size") + rows))


SAVED = '<c t="str"><f>A9</f><v>acme.com</v></c>'
UNSAVED = "<c><f>HYPERLINK(A9)</f></c>"


@pytest.mark.parametrize(
    ("header", "cells", "where"),
    [
        ("domain", [SAVED, UNSAVED], " in row 3; open it in Excel"),
        ("what", [UNSAVED, UNSAVED], "; open it in Excel"),
    ],
    ids=["a domain", "no domains"],
)
def test_domains_that_are_formulas_without_results_are_said_in_one_sentence(
    tmp_path: Path, header: str, cells: list[str], where: str
) -> None:
    path = _formulas(tmp_path, header, *cells)
    with pytest.raises(ListError, match=f"formulas whose results were not saved{where}"):
        list(open_list(path))


def test_other_formulas_without_results_are_left_out(tmp_path: Path) -> None:
    rows = f'<row r="2"><c t="inlineStr"><is><t>acme.com</t></is></c>{UNSAVED}</row>'
    path = raw_workbook(tmp_path / "a.xlsx", sheet_xml(text_row(1, "domain", "note") + rows))
    (row,) = open_list(path)
    assert (row.value, row.attributes) == ("acme.com", {})


def test_a_formula_whose_result_is_an_empty_text_is_empty(tmp_path: Path) -> None:
    empty = '<c t="str"><f>A9</f><v></v></c>'
    rows = list(open_list(_formulas(tmp_path, "domain", SAVED, empty)))
    assert [row.value for row in rows] == ["acme.com", ""]


def test_shared_strings_may_be_rich_escaped_and_have_a_reading_aid(tmp_path: Path) -> None:
    strings = (
        f'<sst xmlns="{MAIN}"><si><t>domain</t></si><si><t>acme.com</t></si><si/>'
        "<si><r><t>Acme </t></r><r><rPr><b/></rPr><t>GmbH_x000D__x000A_Köln_xD800_</t></r>"
        "<rPh><t>akume</t></rPh></si></sst>"
    )
    sheet = sheet_xml(
        '<row><c t="s"><v>0</v></c></row>'
        '<row><c t="s"><v>1</v></c><c t="s"><v>3</v></c><c t="s"><v>2</v></c></row>'
    )
    (row,) = open_list(raw_workbook(tmp_path / "a.xlsx", sheet, strings=strings))
    assert row.attributes == {"column_2": "Acme GmbH\r\nKöln_xD800_"}


def test_cells_are_placed_by_their_names_and_extensions_are_not_read(tmp_path: Path) -> None:
    sheet = (
        f'<x:worksheet xmlns:x="{MAIN}" xmlns:y="urn:other"><x:sheetData>'
        '<x:row r="3"><x:c r="AB3" t="str"><x:v>acme.com</x:v><y:v>no</y:v></x:c></x:row>'
        '<x:row r="7"><x:c r="B7"><x:v>5</x:v></x:c><x:c r="AB7" t="str"><x:v>b.com</x:v></x:c>'
        "</x:row></x:sheetData></x:worksheet>"
    )
    reader = open_list(raw_workbook(tmp_path / "a.xlsx", sheet))
    assert reader.domain_column == "column_28"
    assert [(row.line, row.value) for row in reader] == [(3, "acme.com"), (7, "b.com")]
    assert [row.attributes for row in reader] == [{}, {"column_2": "5"}]


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"list.csv": "domain\nacme.com\n"}, "is a ZIP archive"),
        ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}, "is a ZIP archive"),
        ({}, "is a ZIP archive"),
        ({"xl/workbook.bin": "", "_rels/.rels": "<a/>"}, r"binary workbook \(\.xlsb"),
        ({"_rels/.rels": "<a/>"}, "no Excel workbook"),
        ({"_rels/.rels": "<a>"}, "broken Excel workbook"),
    ],
    ids=["csv", "ods", "empty", "xlsb", "other", "broken"],
)
def test_other_archives_are_named(tmp_path: Path, parts: dict[str, str], message: str) -> None:
    path = tmp_path / "list.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ListError, match=message) as caught:
        open_list(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    office = b"\xd0\xcf\x11\xe0" + bytes(3_000_000)
    path.write_bytes(office + "EncryptedPackage".encode("utf-16-le") + bytes(500))
    with pytest.raises(ListError, match="protected by a password; save it without one"):
        open_list(path)
    path.write_bytes(office)
    with pytest.raises(ListError, match=r"an old Excel workbook \(\.xls\)"):
        open_list(path)
    workbook(path, {"List": ROWS})
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 10):
        if content[at : at + 4] == b"PK\x01\x02":
            content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ListError, match="protected by a password"):
        open_list(path)


def test_a_workbook_without_a_visible_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    with pytest.raises(ListError, match="has no visible sheet"):
        open_list(workbook(path, {".List": ROWS}))
    with pytest.raises(ListError, match="sheet 'Empty', has only remarks and no rows"):
        open_list(workbook(path, {"Empty": []}))
    with pytest.raises(ListError, match=r"sheet 'A', has no column .*\(found: name\)"):
        open_list(workbook(path, {"A": [["name"], ["Acme"]], "B": [["city"], ["Bonn"]]}))


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (sheet_xml('<row><c t="s"><v>0</v></c></row>'), "refer to strings, and it has none"),
        (sheet_xml('<row r="x"><c t="str"><v>a.com</v></c></row>'), "'x' stands where a whole"),
        (sheet_xml('<row r="1"><c r="1A"><v>1</v></c></row>'), "has a cell named '1A'"),
        (sheet_xml('<row r="1"><c r="XFE1"><v>1</v></c></row>'), "more cells than Excel allows"),
        (sheet_xml('<row r="1048577"/>'), "more rows than the 1,048,576"),
        (sheet_xml("<row><c><v>1</v></row>"), "mismatched tag"),
        (sheet_xml("<row>")[:-40], "no element found"),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "declares a document type"),
        ("<a>" * 200, "too deep"),
        (sheet_xml("<a>" * 200), "too deep"),
        (f"<a b='{'c' * (MOST_TOKEN_BYTES + 200_000)}'/>", "an element is too long"),
        (f"<a><!-- {'c' * (MOST_TOKEN_BYTES + 200_000)} --></a>", "an element is too long"),
        (sheet_xml(text_row(1, "a" * 600_000, "b" * 600_000)), "more than 1,000,000 characters"),
        (b"\xff\xff<a/>", "not well-formed"),
    ],
    ids=[
        "no strings", "row", "cell name", "cells", "rows", "tags", "cut off", "entities", "depth",
        "depth in a sheet", "attribute", "comment", "row size", "encoding",
    ],
)  # fmt: skip
def test_a_sheet_that_excel_never_wrote_is_refused_in_one_sentence(
    tmp_path: Path, sheet: str | bytes, message: str
) -> None:
    path = raw_workbook(tmp_path / "a.xlsx", sheet)
    with pytest.raises(ListError, match=message) as caught:
        list(open_list(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_string_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for number in ("1", "-1", "x"):
        sheet = sheet_xml(f'<row><c t="s"><v>{number}</v></c></row>')
        path = raw_workbook(tmp_path / "a.xlsx", sheet, strings=f'<sst xmlns="{MAIN}"><si/></sst>')
        with pytest.raises(ListError, match="broken Excel workbook"):
            open_list(path)


def test_a_part_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = raw_workbook(tmp_path / "a.xlsx", sheet_xml(text_row(1, "a.com")), strings="<sst/>")
    huge = (2_100_000_000).to_bytes(4, "little")
    content = path.read_bytes()
    at = content.rindex(b"xl/worksheets/sheet1.xml") - 46
    path.write_bytes(content[: at + 24] + huge + content[at + 28 :])
    with pytest.raises(ListError, match=r"unpacks to 2,100,000,000 bytes in xl/worksheets/sheet1"):
        open_list(path)


def test_a_row_without_an_end_takes_little_memory(tmp_path: Path) -> None:
    """15 MB of cells that are packed to 15 KB; as elements they would be gigabytes."""
    path = raw_workbook(tmp_path / "a.xlsx", sheet_xml('<row r="1">' + "<c/>" * 3_500_000))
    tracemalloc.start()
    with pytest.raises(ListError, match="more cells than Excel allows"):
        open_list(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_memory_does_not_grow_with_the_rows_of_a_sheet(tmp_path: Path) -> None:
    peaks = []
    for count in (5_000, 40_000):
        strings = "".join(f"<si><t>company-{number}.com</t></si>" for number in range(count))
        rows = "".join(f'<row><c t="s"><v>{number}</v></c></row>' for number in range(count))
        path = raw_workbook(
            tmp_path / "a.xlsx", sheet_xml(rows), strings=f'<sst xmlns="{MAIN}">{strings}</sst>'
        )
        reader = open_list(path)
        tracemalloc.start()
        assert sum(1 for _ in reader) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000  # eight bytes a string, and no elements


def test_a_workbook_with_spoilt_bytes_is_read_or_refused(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx", {"List": [["domain"], *([f"c{n}.com"] for n in range(50))]}
    )
    sound = path.read_bytes()
    random_ = random.Random(5)
    refused: list[str] = []
    for _ in range(300):
        spoilt = bytearray(sound[: random_.choice([len(sound), random_.randrange(4, len(sound))])])
        for _ in range(random_.randrange(1, 6)):
            spoilt[random_.randrange(4, len(spoilt))] = random_.randrange(256)
        path.write_bytes(spoilt)
        try:
            list(open_list(path))
        except ListError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in sentence for sentence in refused)
