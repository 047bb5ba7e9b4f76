"""Find out in which encoding a list is written, by its first bytes, and refuse what is no text."""

from __future__ import annotations

import codecs

from resources.adapters.list_source import ListError

_MOST_CONTROL_SHARE = 0.05
# In UTF-16 every ASCII character has a NUL; a list is full of dots, delimiters and line ends.
_LEAST_NUL_SHARE = 0.3

_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls) or another Office file"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"Obj\x01", "an Avro file"),
)


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decode the bytes that do not fit as cp1252, those it leaves undefined as Latin-1."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    text = "".join(
        bytes([byte]).decode("latin-1" if byte in b"\x81\x8d\x8f\x90\x9d" else "cp1252")
        for byte in wrong
    )
    return text, error.end


# Codecs find their error handlers by name only. The name is this module's own.
_FALLBACK = "pipeline.cp1252"
codecs.register_error(_FALLBACK, _as_cp1252)


def errors_of(encoding: str) -> str:
    """Return the error handler with which a list is decoded to its end; only UTF-16 may fail."""
    return "strict" if encoding.startswith("utf-16") else _FALLBACK


def known_form(prefix: bytes) -> str | None:
    """Name the format that its first bytes give away, or None for what may be a text."""
    return next((what for magic, what in _MAGIC if prefix.startswith(magic)), None)


def detect_encoding(prefix: bytes, place: str) -> str:
    """Return the codec of a text by its first bytes.

    UTF-8 is decided by the prefix alone. What does not fit later in the file does not end the
    reading: those bytes are read as cp1252, the others around them stay UTF-8.

    Raises:
        ListError: The file is binary.
    """
    if prefix.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ListError(f"{place} is written in UTF-32; save it as UTF-8 text or CSV")
    if prefix.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if what := known_form(prefix):
        raise ListError(f"{place} is {what}, not a text; export the list as CSV in UTF-8")
    if b"\x00" in prefix:
        if unmarked := _utf16_without_mark(prefix):
            return unmarked
        if _is_binary(prefix):
            raise ListError(
                f"{place} is a binary file (it has NUL bytes); save the list as CSV in UTF-8"
            )
    if prefix.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return "utf-8" if _is_utf8(prefix) else "cp1252"


def _utf16_without_mark(prefix: bytes) -> str | None:
    """Return the codec of UTF-16 that begins without its mark, as databases export it."""
    units = len(prefix) // 2
    for codec, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        of_high_bytes = prefix[high : units * 2 : 2].count(0)
        of_low_bytes = prefix[1 - high : units * 2 : 2].count(0)
        if of_high_bytes >= units * _LEAST_NUL_SHARE and of_low_bytes * 4 <= of_high_bytes:
            text = prefix[: units * 2].decode(codec, "replace")
            spoilt = sum(not (letter.isprintable() or letter in "\t\n\v\f\r") for letter in text)
            if spoilt <= len(text) * _MOST_CONTROL_SHARE:
                return codec
    return None


def _is_binary(prefix: bytes) -> bool:
    """Tell a binary file from a text in which a few rows are spoilt; those are rejected alone."""
    if b"\x00" in prefix.split(b"\n", 1)[0]:
        return True
    controls = len(prefix) - len(prefix.translate(None, _CONTROL_BYTES))
    return controls > max(2, len(prefix) * _MOST_CONTROL_SHARE)


def _is_utf8(prefix: bytes) -> bool:
    """Tell whether more characters of a prefix are sound UTF-8 than bytes of it are not."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(prefix)
    except UnicodeDecodeError:
        kept = prefix.decode("utf-8", "ignore")
        wrong = len(prefix) - len(kept.encode("utf-8"))
        return sum(not character.isascii() for character in kept) > wrong
    return True
