"""Excel workbooks for tests: written by openpyxl, or part by part for what it never writes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def workbook(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]]) -> Path:
    """A workbook as openpyxl writes it; a sheet whose name begins with `.` is hidden."""
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.removeprefix("."))
        sheet.sheet_state = "hidden" if name.startswith(".") else "visible"
        for row in rows:
            sheet.append(row)
    if all(name.startswith(".") for name in sheets):
        book.active.sheet_state = "visible"  # openpyxl would not save it
        book.save(path)
        return _rewritten(path, b'state="visible"', b'state="hidden"')
    book.save(path)
    return path


def raw_workbook(
    path: Path,
    sheet: str | bytes,
    *,
    strings: str | None = None,
    styles: str | None = None,
    workbook_properties: str = "",
    more: Mapping[str, str | bytes] | None = None,
) -> Path:
    """A workbook of one sheet, its parts given as XML."""
    links = [("rId1", "worksheet", "worksheets/sheet1.xml")]
    parts: dict[str, str | bytes] = {"xl/worksheets/sheet1.xml": sheet, **(more or {})}
    if strings is not None:
        links.append(("rId2", "sharedStrings", "sharedStrings.xml"))
        parts["xl/sharedStrings.xml"] = strings
    if styles is not None:
        links.append(("rId3", "styles", "/xl/styles.xml"))
        parts["xl/styles.xml"] = styles
    parts["_rels/.rels"] = _relations([("rId1", "officeDocument", "xl/workbook.xml")])
    parts["xl/_rels/workbook.xml.rels"] = _relations(links)
    parts["xl/workbook.xml"] = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{LINKS}">{workbook_properties}'
        '<sheets><sheet name="List" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def sheet_xml(rows: str) -> str:
    """A sheet with these rows, given as XML."""
    return f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def text_row(number: int, *cells: str) -> str:
    """One row of texts, as XML."""
    inner = "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in cells)
    return f'<row r="{number}">{inner}</row>'


def _relations(links: Sequence[tuple[str, str, str]]) -> str:
    inner = "".join(
        f'<Relationship Id="{key}" Type="{LINKS}/{kind}" Target="{target}"/>'
        for key, kind, target in links
    )
    return f'<Relationships xmlns="{_PACKAGE}">{inner}</Relationships>'


def _rewritten(path: Path, old: bytes, new: bytes) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            is_it = name == "xl/workbook.xml"
            archive.writestr(name, content.replace(old, new) if is_it else content)
    return path
