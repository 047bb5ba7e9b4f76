"""Cells that a spreadsheet program will open: nothing in them is executed."""

from __future__ import annotations

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> object:
    """Neutralise text that a spreadsheet would take for a formula, with a leading apostrophe.

    Numbers stay numbers. Source: OWASP, CSV injection.

    >>> safe_cell("=HYPERLINK(0)"), safe_cell("Acme"), safe_cell(-3)
    ("'=HYPERLINK(0)", 'Acme', -3)
    """
    if isinstance(value, str):
        text = value.replace("\x00", "")
        return f"'{text}" if text.startswith(_DANGEROUS) else text
    return "" if value is None else value
