"""Decoding: every kind of evidence, and its order."""

import pytest

from resources.core.extract import decode

WORD = "Größe für Müller, überall in Österreich und anderswo. "


@pytest.mark.parametrize(
    ("body", "content_type", "charset"),
    [
        (b"\xef\xbb\xbf" + WORD.encode(), "text/html; charset=iso-8859-1", "utf-8"),
        (WORD.encode("utf-16"), None, "utf-16-le"),
        (WORD.encode("latin-1"), "text/html; charset=ISO-8859-1", "windows-1252"),
        (b"<meta charset=windows-1252>" + WORD.encode("cp1252"), None, "windows-1252"),
        (WORD.encode(), None, "utf-8"),
        (WORD.encode(), "text/html; charset=latin1", "utf-8"),
        (WORD.encode("cp1252"), "text/html; charset=utf-8", "windows-1252"),
        (WORD.encode(), "text/html; charset=no-such-thing", "utf-8"),
    ],
)
def test_text_survives(body, content_type, charset):
    text, found = decode(body, content_type)
    assert WORD in text
    assert found == charset


def test_japanese_is_detected_from_meta():
    body = b"<meta http-equiv=content-type content='text/html; charset=Shift_JIS'>" + "会社".encode(
        "shift_jis"
    )
    assert "会社" in decode(body)[0]


def test_nul_bytes_and_broken_bytes_become_harmless():
    text, _ = decode(b"a\0b\xff\xfec", "text/html; charset=utf-8")
    assert "\0" not in text
    assert text.startswith("a b")


def test_a_body_cut_in_the_middle_of_a_character_stays_utf8():
    assert decode(WORD.encode() * 20 + "ü".encode()[:1])[1] == "utf-8"


def test_codecs_that_are_no_text_are_not_used():
    for name in ("rot13", "hex", "zlib", "idna", "undefined", "unicode_escape"):
        assert decode(b"abc \\x41", f"text/html; charset={name}")[0] == "abc \\x41"
