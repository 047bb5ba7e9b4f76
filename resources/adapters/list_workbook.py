"""Read a list from an Excel workbook (.xlsx, .xlsm): the rows of a visible sheet, as text.

Of a formula its last result counts, as Excel saved it; dates become ISO dates, whole numbers have
no fraction. Rows that a filter hides are rows; hidden sheets are not looked at. How the archive is
read within limits is `workbook_parts.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from openpyxl.styles.numbers import builtin_format_code, is_date_format, is_timedelta_format
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH

from resources.adapters.list_source import Form, ListError, Record, as_text
from resources.adapters.workbook_parts import MOST_SHEET_BYTES, BrokenPartError, Package
from resources.adapters.workbook_rows import CellFormats, SheetRows
from resources.adapters.workbook_strings import Strings

_OFFICE_FILE = b"\xd0\xcf\x11\xe0"
_PASSWORD_MARK = "EncryptedPackage".encode("utf-16-le")
_MOST_LOOKED_AT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class SheetSource:
    """The records of one sheet."""

    workbook: _Workbook
    part: str
    form: Form

    def records(self, needed: Collection[int] | None = None) -> Iterator[Record]:  # noqa: ARG002
        """Yield all rows that hold something; the XML has to be read whole anyway."""
        found = SheetRows(self.workbook.formats)
        for _ in self.workbook.package.feed(self.part, found, MOST_SHEET_BYTES):
            try:
                for number, cells in found.taken():
                    yield Record(number, as_text(cells), cells)
            except BrokenPartError as error:
                raise self.workbook.package.broken(self.part, error) from error


def sources(path: Path, scratch: Path | None = None) -> list[SheetSource]:
    """Return the visible sheets of a workbook in their order.

    Args:
        scratch: Folder for its strings; the system's if None.

    Raises:
        ListError: It is no workbook of this kind, broken, protected by a password, or every sheet
            is hidden.
        OSError: It cannot be read.
    """
    _refuse_older_files(path)
    workbook = _Workbook(Package(path), scratch)
    names = [name for name, state, _ in workbook.sheets if state == "visible"]
    if not names:
        raise ListError(
            f"{path} has no visible sheet; show the one with the list, or save it as CSV"
        )
    return [
        SheetSource(workbook, part, Form(f"{path}, sheet {name[:60]!r},"))
        for name, state, part in workbook.sheets
        if state == "visible"
    ]


class _Workbook:
    """What the sheets of a workbook share; read when it is first needed, then kept."""

    def __init__(self, package: Package, scratch: Path | None) -> None:
        self.package = package
        self._scratch = scratch
        links = package.related("")
        parts = [part for kind, part in links.values() if kind == "officeDocument"]
        if not parts:
            raise ListError(f"{package.path} is no Excel workbook (.xlsx); export the list as CSV")
        self._part = parts[0]
        self._links = package.related(self._part)
        self._is_mac = False
        self.sheets = list(self._sheets())

    @cached_property
    def formats(self) -> CellFormats:
        """What is needed to read cells."""
        strings = self._linked("sharedStrings")
        styles = self._linked("styles")
        dates, durations = self._date_styles(styles) if styles else (set[str](), set[str]())
        return CellFormats(
            strings=Strings(self.package, strings, self._scratch) if strings else None,
            dates=dates,
            durations=durations,
            epoch=MAC_EPOCH if self._is_mac else WINDOWS_EPOCH,
        )

    def _linked(self, kind: str) -> str | None:
        return next((part for other, part in self._links.values() if other == kind), None)

    def _sheets(self) -> Iterator[tuple[str, str, str]]:
        """Yield (name, state, part) of each sheet with cells; one that is a chart has none."""
        for _, name, attributes in self.package.elements(self._part):
            if name == "workbookPr":
                self._is_mac = attributes.get("date1904") in ("1", "true")
            elif name == "sheet":
                key = next((value for at, value in attributes.items() if at.endswith(":id")), "")
                kind, part = self._links.get(key, ("", ""))
                if kind == "worksheet":
                    yield attributes.get("name", ""), attributes.get("state", "visible"), part

    def _date_styles(self, part: str) -> tuple[set[str], set[str]]:
        """Return the styles, by their number as cells name them, that show dates and durations."""
        codes: dict[str, str] = {}
        dates: set[str] = set()
        durations: set[str] = set()
        style = 0
        for parent, name, attributes in self.package.elements(part):
            if name == "numFmt":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif name == "xf" and parent == "cellXfs":
                number = attributes.get("numFmtId", "0")
                code = codes.get(number) or (
                    builtin_format_code(int(number)) if number.isdecimal() else None
                )
                if is_date_format(code):
                    dates.add(str(style))
                    if is_timedelta_format(code):
                        durations.add(str(style))
                style += 1
        return dates, durations


def _refuse_older_files(path: Path) -> None:
    """Tell the two files apart that begin as Office files did before 2007."""
    with path.open("rb") as stream:
        start = stream.read(_MOST_LOOKED_AT_BYTES)
        if not start.startswith(_OFFICE_FILE):
            return
        size_bytes = stream.seek(0, 2)
        stream.seek(max(0, size_bytes - _MOST_LOOKED_AT_BYTES))
        end = stream.read(_MOST_LOOKED_AT_BYTES)
    if _PASSWORD_MARK in start or _PASSWORD_MARK in end:
        raise ListError(f"{path} is protected by a password; save it without one")
    raise ListError(
        f"{path} is an old Excel workbook (.xls) or another Office file; save it as .xlsx or CSV"
    )
