"""The rows of a sheet of an Excel workbook, each cell as text.

Not here: which sheet is meant, and what its columns hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from openpyxl.utils.datetime import from_excel

from resources.adapters.list_source import MAX_RECORD_CHARS, MOST_UNPACKED_BYTES, NoResult
from resources.adapters.workbook_parts import (
    MOST_DEPTH,
    Attributes,
    BrokenPartError,
    unescaped,
)
from resources.adapters.workbook_strings import Strings

MOST_ROWS = 1_048_576
MOST_CELLS = 16_384
_LARGEST_WHOLE = 1e15  # beyond, a float does not hold every whole number
_LETTERS = re.compile("[A-Z]{1,3}")


@dataclass(frozen=True, slots=True)
class CellFormats:
    """What is needed to read the value of a cell.

    Attributes:
        strings: The strings that cells refer to; None for a workbook without.
        dates: Styles that show a number as a date or a time.
        durations: Those of them that show it as a duration, as `[h]:mm` does.
        epoch: Day 0 of its dates.
    """

    strings: Strings | None
    dates: Collection[str]
    durations: Collection[str]
    epoch: datetime


@dataclass(frozen=True, slots=True)
class _Reference:
    """A string of the workbook, by its number."""

    number: int


class SheetRows:
    """Gathers the rows of a sheet as its XML is read."""

    def __init__(self, formats: CellFormats) -> None:
        self._rows: list[tuple[int, list[str | _Reference]]] = []
        self._formats = formats
        self._places: dict[str, int] = {}
        self._depth = 0
        self._count = 0
        self._number = 0
        self._cells: list[str | _Reference] = []
        self._place = -1
        self._kind = "n"
        self._style = ""
        self._pieces: list[str] = []
        self._size = 0
        self._repeated_chars = 0
        self._is_value = False
        self._is_aid = False
        self._is_formula = False
        self._has_value = False

    def taken(self) -> Iterator[tuple[int, list[str]]]:
        """Yield what was gathered since the last call; rows without any value are left out.

        Strings are looked up row by row: a few bytes may refer to a long one.

        Yields: a row's number as Excel shows it, and its cells up to the last with a value.

        Raises:
            BrokenPartError: a string is not there, or they are too many or too long.
        """
        for number, found in self._rows:
            cells = self._looked_up(number, found)
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield number, cells
        self._rows.clear()

    def _looked_up(self, row: int, found: Sequence[str | _Reference]) -> list[str]:
        strings, cells, size = self._formats.strings, [], 0
        for cell in found:
            if isinstance(cell, _Reference):
                if strings is None:
                    raise BrokenPartError("its cells refer to strings, and it has none")
                text = strings[cell.number]
                self._repeated_chars += len(text)
            else:
                text = cell
            size += len(text)
            if size > MAX_RECORD_CHARS:
                raise _too_long(row)
            cells.append(text)
        if self._repeated_chars > MOST_UNPACKED_BYTES:
            raise BrokenPartError(
                f"it repeats its strings to more than {MOST_UNPACKED_BYTES / 1e9:.0f} GB"
            )
        return cells

    def begin(self, name: str, attributes: Attributes) -> None:
        self._depth += 1
        if name in ("v", "t"):
            self._is_value = not self._is_aid
            self._has_value = True
        elif name == "f":
            self._is_formula = True
        elif name == "c":
            self._begin_cell(attributes)
        elif name == "row":
            self._begin_row(attributes)
        elif name == "rPh":
            self._is_aid = True
        elif self._depth > MOST_DEPTH:
            raise BrokenPartError("elements stand too deep in one another")

    def text(self, text: str) -> None:
        if self._is_value:
            self._pieces.append(text)
            self._size += len(text)
            if self._size > MAX_RECORD_CHARS:
                raise _too_long(self._number)

    def end(self, name: str) -> None:
        self._depth -= 1
        if name in ("v", "t"):
            self._is_value = False
        elif name == "c":
            if self._pieces:
                value = self._value("".join(self._pieces))
                self._pieces.clear()
                self._put(value)
            elif self._is_formula and not self._has_value:
                self._put(NoResult())
        elif name == "row":
            if self._cells:
                self._rows.append((self._number, self._cells))
                self._cells = []
        elif name == "rPh":
            self._is_aid = False

    def _begin_row(self, attributes: Attributes) -> None:
        self._count += 1
        number = attributes.get("r")
        self._number = self._number + 1 if number is None else _whole(number)
        if max(self._count, self._number) > MOST_ROWS:
            raise BrokenPartError(f"it has more rows than the {MOST_ROWS:,} that Excel allows")
        self._cells = []
        self._place = -1
        self._size = 0

    def _begin_cell(self, attributes: Attributes) -> None:
        self._kind = attributes.get("t", "n")
        self._style = attributes.get("s", "0")
        self._pieces.clear()
        self._is_formula = self._has_value = False
        name = attributes.get("r")
        self._place = self._place + 1 if name is None else self._place_of(name)
        if self._place >= MOST_CELLS:
            raise BrokenPartError(f"row {self._number} has more cells than Excel allows")

    def _place_of(self, name: str) -> int:
        """Return the place of a cell in its row, from 0, by its name such as `AB12`."""
        letters = name.rstrip("0123456789")
        place = self._places.get(letters)
        if place is None:
            if not _LETTERS.fullmatch(letters):
                raise BrokenPartError(f"row {self._number} has a cell named {name[:20]!r}")
            place = 0
            for letter in letters:
                place = place * 26 + ord(letter) - ord("A") + 1
            place -= 1
            self._places[letters] = place
        return place

    def _put(self, value: str | _Reference) -> None:
        missing = self._place - len(self._cells)
        if missing < 0:
            self._cells[self._place] = value
        elif value != "":
            self._cells.extend([""] * missing)
            self._cells.append(value)

    def _value(self, text: str) -> str | _Reference:
        match self._kind:
            case "s":
                return _Reference(_whole(text))
            case "n":
                return self._date(text) if self._style in self._formats.dates else _number(text)
            case "b":
                return "FALSE" if text.strip() == "0" else "TRUE"
            case _:  # text, an ISO date, or an error such as #N/A
                return unescaped(text)

    def _date(self, text: str) -> str:
        is_duration = self._style in self._formats.durations
        try:
            found = from_excel(float(text), self._formats.epoch, timedelta=is_duration)
        except (ValueError, OverflowError):
            return _number(text)
        if isinstance(found, datetime):
            is_day = found.time() == time()
            return found.date().isoformat() if is_day else found.isoformat(" ", "seconds")
        return found.isoformat("seconds") if isinstance(found, time) else str(found)


def _too_long(row: int) -> BrokenPartError:
    return BrokenPartError(f"row {row} has more than {MAX_RECORD_CHARS:,} characters")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BrokenPartError(f"{text[:20]!r} stands where a whole number belongs") from error


def _number(text: str) -> str:
    """Write a number as Excel shows it: at most 15 digits, and no fraction where there is none."""
    if text.isdecimal():
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    if number.is_integer() and abs(number) < _LARGEST_WHOLE:
        return str(int(number))
    return f"{number:.15g}"
