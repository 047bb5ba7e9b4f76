"""Read a list from a text: CSV, TSV or one value a line, in any usual encoding, packed or not."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from resources.adapters.list_encoding import detect_encoding, errors_of
from resources.adapters.list_format import LineSource, detect_delimiter, records
from resources.adapters.list_gzip import GunzippedFile
from resources.adapters.list_source import PREFIX_BYTES, Form, ListError, Record

SAMPLE_LINES = 101  # a header and a hundred rows


@dataclass(frozen=True, slots=True)
class TextSource:
    """The records of a text.

    Attributes:
        width: How many cells a record usually has.
    """

    path: Path
    form: Form
    width: int

    def records(self, needed: Collection[int] | None = None) -> Iterator[Record]:  # noqa: ARG002
        """Yield all records; a text has to be cut into all of its cells anyway."""
        encoding = self.form.encoding
        assert encoding is not None
        with _opened(self.path, encoding, is_packed=self.form.is_packed) as stream:
            lines = LineSource(stream, self.form.place)
            yield from records(lines, self.form.delimiter, self.width)


def text_source(path: Path, prefix: bytes, *, is_packed: bool = False) -> TextSource:
    """Find out how a text is written.

    Args:
        path: The file.
        prefix: The first bytes of the text itself.
        is_packed: Whether the file is a gzip archive of it.

    Raises:
        ListError: It is binary, empty, or a gzip archive of something else than a text.
        OSError: The file cannot be opened.
    """
    place = str(path)
    encoding = detect_encoding(prefix, place)
    with _opened(path, encoding, is_packed=is_packed) as stream:
        sample = _sample(LineSource(stream, place))
    if not sample:
        raise ListError(f"{place} is empty; give a file with one domain a line or a CSV")
    delimiter, width = detect_delimiter(sample)
    form = Form(place, encoding, delimiter, is_packed=is_packed, is_plain=delimiter is None)
    return TextSource(path, form, width)


def _opened(path: Path, encoding: str, *, is_packed: bool) -> TextIO:
    raw = io.BufferedReader(GunzippedFile(path)) if is_packed else path.open("rb")
    # newline="" keeps all line ends apart: a lone CR ends a line too, as old Macs write it.
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors_of(encoding), newline="")


def _sample(lines: LineSource) -> list[str]:
    """Take the first lines that are not blank, as many as a sample needs."""
    sample: list[str] = []
    size = 0
    for _, text in lines:
        size += len(text) + 1
        if text.strip():
            sample.append(text)
        if len(sample) >= SAMPLE_LINES or (sample and size > PREFIX_BYTES):
            break
    return sample
