"""Turn a country as people and providers write it into ISO 3166-1 alpha-2.

The names come from the table that phonenumbers carries, in some hundred languages; here are only
the few it lacks. Nothing is guessed: a name that is not known gives None.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from resources.core.names import fold

_FURTHER_NAMES = MappingProxyType(
    {
        "america": "US",
        "bosnia": "BA",
        "bosnia herzegovina": "BA",
        "brd": "DE",
        "caribbean netherlands": "BQ",
        "czechia": "CZ",
        "england": "GB",
        "great britain": "GB",
        "holland": "NL",
        "ivory coast": "CI",
        "kosovo": "XK",
        "macau": "MO",
        "north macedonia": "MK",
        "northern ireland": "GB",
        "republic of ireland": "IE",
        "republic of korea": "KR",
        "republic of the congo": "CG",
        "russian federation": "RU",
        "scotland": "GB",
        "sint maarten": "SX",
        "the netherlands": "NL",
        "turkiye": "TR",
        "uae": "AE",
        "united states of america": "US",
        "usa": "US",
        "u s a": "US",
        "vatican city": "VA",
        "viet nam": "VN",
        "wales": "GB",
    }
)
_OTHER_CODES = MappingProxyType({"UK": "GB", "EL": "GR"})


def alpha2(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code in upper case, or None when it is no known country.

    >>> alpha2("united states"), alpha2("Österreich"), alpha2("uk"), alpha2("EU")
    ('US', 'AT', 'GB', None)
    """
    if text is None or not (folded := fold(text)):
        return None
    code = text.strip().upper()
    code = _OTHER_CODES.get(code, code)
    names = _names()
    if len(code) == 2 and code in _codes():
        return code
    return _FURTHER_NAMES.get(folded) or names.get(folded)


@cache
def _codes() -> frozenset[str]:
    return frozenset(_table()) | {"XK"}


@cache
def _names() -> Mapping[str, str]:
    """Return folded names in all languages to codes; no name stands for two countries."""
    names: dict[str, str] = {}
    for code, by_language in sorted(_table().items()):
        for name in by_language.values():
            if name and not name.startswith("*"):  # "*de" refers to another language's name
                names.setdefault(fold(name), code)
    return names


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    # Imported at first use: it takes 0.4 s, and most runs never need it.
    table: Mapping[str, Mapping[str, str]] = import_module(
        "phonenumbers.geodata.locale"
    ).LOCALE_DATA
    return table
