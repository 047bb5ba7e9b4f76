"""Bytes to text: which charset a body is in, and whether it is HTML at all.

Order of evidence: byte-order mark, HTTP header, `<meta>`, then detection. A declared charset
that does not fit the bytes is not believed when the bytes are valid UTF-8.

Source: WHATWG Encoding and HTML (encoding sniffing), simplified.
"""

import codecs
import re
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from .models import MAX_BODY_BYTES, MAX_BODY_CHARS

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HEADER_CHARSET: Final = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.I)
_META_CHARSET: Final = re.compile(
    rb"<meta[^>]{0,400}?charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.I
)
_META_WINDOW_BYTES: Final = 4096
_DETECT_BYTES: Final = 16_384
_MAGIC: Final = (
    b"%PDF", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"7z\xbc",
    b"Rar!", b"RIFF", b"\x00\x00\x01\x00", b"OggS", b"ID3", b"wOFF", b"wOF2", b"\x7fELF", b"MZ\x90",
    b"\xd0\xcf\x11\xe0", b"{\\rtf", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_TAG: Final = re.compile(rb"<[!a-zA-Z]")
_CONTROL: Final = bytes(set(range(32)) - {9, 10, 12, 13, 27}) + b"\x7f"
_NOT_HTML_TYPE: Final = re.compile(
    r"(?:image|audio|video|font)/(?!svg)|application/(?:pdf|zip|gzip|json|octet-stream|msword|"
    r"vnd\.|x-|javascript)|text/(?:css|javascript|csv|calendar)",
    re.I,
)


def decode(body: bytes, content_type: str | None = None) -> tuple[str, str]:
    """Decode a body, whatever is in it, and name the charset that was used.

    Args:
        body: raw bytes; only the first `MAX_BODY_BYTES` are read.
        content_type: the HTTP header, if there was one.

    Returns:
        The text, at most `MAX_BODY_CHARS` long, and the charset as a Python codec name. Bytes
        that do not fit become U+FFFD; nothing is raised. NUL characters become spaces.

    >>> decode("Müller".encode("latin-1"), "text/html; charset=iso-8859-1")
    ('Müller', 'windows-1252')
    """
    body = body[:MAX_BODY_BYTES]
    charset = _charset(body, content_type)
    text = body.decode(charset, "replace")[: MAX_BODY_CHARS + 1].removeprefix("\ufeff")
    return text[:MAX_BODY_CHARS].replace("\0", " "), charset


def _charset(body: bytes, content_type: str | None) -> str:
    for mark, name in _BOMS:
        if body.startswith(mark):
            return name
    declared = _declared(body, content_type)
    if declared == "utf-8" or declared is None:
        return "utf-8" if _is_utf8(body) else _detected(body, declared)
    if declared.startswith("utf-16") and b"\0" not in body[:1024]:
        return "utf-8" if _is_utf8(body) else _detected(body, None)
    is_ascii_only = body.isascii()
    if not is_ascii_only and not declared.startswith(("utf-16", "iso-2022")) and _is_utf8(body):
        return "utf-8"
    return declared


def _declared(body: bytes, content_type: str | None) -> str | None:
    found = _HEADER_CHARSET.search(content_type[:500]) if content_type else None
    label = found.group(1) if found else None
    if label is None or _codec(label) is None:
        meta = _META_CHARSET.search(body, 0, _META_WINDOW_BYTES)
        label = meta.group(1).decode("ascii", "replace") if meta else None
    return _codec(label) if label else None


def _codec(label: str) -> str | None:
    name = map_encoding_to_html5(label, False)
    if not name:
        return None
    try:
        info = codecs.lookup(name)
        b"".decode(name)
    except (LookupError, UnicodeError, ValueError):
        return None
    # Of Python's codecs some are no text encodings (rot13, hex, zlib).
    return name.lower().replace("cp125", "windows-125") if info._is_text_encoding else None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        # A body cut off in the middle of a character is still UTF-8.
        return error.start >= len(body) - 3 and error.start > 0
    return True


def _detected(body: bytes, declared: str | None) -> str:
    # A page declared as UTF-8 with a few broken bytes stays UTF-8.
    sample = body[:_DETECT_BYTES]
    if declared == "utf-8" and sample.decode("utf-8", "replace").count("\ufffd") * 100 < len(
        sample
    ):
        return "utf-8"
    name = detect_encoding(sample) or "utf-8"
    return _codec(name) or "utf-8"


def is_html(body: bytes, content_type: str | None = None) -> bool:
    """Tell whether a body can be read as HTML: by magic numbers, control bytes, then tags.

    The header alone decides nothing when there are tags, since servers often get it wrong; it
    counts against a body without any, and for a plain text that is served as HTML.
    """
    head = body[:_META_WINDOW_BYTES]
    if not head.strip() or head.lstrip()[:8].startswith(_MAGIC):
        return False
    if head.startswith(tuple(mark for mark, _ in _BOMS[1:])):
        return True
    declared = content_type or ""
    has_tags = _TAG.search(body, 0, 65_536) is not None
    is_wide = has_tags and "utf-16" in (_declared(body, content_type) or "")
    controls = len(head) - len(head.translate(None, _CONTROL.replace(b"\0", b"")))
    if controls * 10 > len(head) and not is_wide:
        return False
    if _NOT_HTML_TYPE.match(declared.strip()):
        return b"<html" in head.lower() or b"<!doctype html" in head.lower()
    return has_tags or "html" in declared.lower()
