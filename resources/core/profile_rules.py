"""The profile's fields in one table: type, normaliser, whom to trust first, meaning, most entries.

The data dictionary and the columns of the directory are made from it. How facts are weighed
against each other is in `profile`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from resources.core.countries import alpha2
from resources.core.names import core_tokens, fold


class FieldType(StrEnum):
    """What a value, or one entry of a list, is."""

    TEXT = "text"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One field of a profile.

    Args:
        description: What it means, for the data dictionary.
        trust: Sources, the most trusted first; others come after these, by name.
        normalise: The value as it is kept, or None where it is none.
        key: What two equal values have in common.
        type: Type of the value or of an entry.
        max_entries: Most entries of a list; None: the field has one value.
    """

    description: str
    trust: tuple[str, ...]
    normalise: Callable[[Any], str | int | None]
    key: Callable[[Any], str]
    type: FieldType = FieldType.TEXT
    max_entries: int | None = None

    @property
    def is_list(self) -> bool:
        return self.max_entries is not None

    def rank(self, source: str) -> tuple[int, str]:
        """Return what sources are sorted by: smaller is trusted more."""
        if source in self.trust:
            return self.trust.index(source), ""
        return len(self.trust), source


_PHONE = re.compile(r"\+[1-9]\d{5,14}")
_EMAIL = re.compile(r"[^\s@<>\"]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?\.[a-z0-9-]{2,63}")
_RANGE = re.compile(r"(\d{1,9})\s*[-\u2013]\s*(\d{1,9})|(\d{1,9})\+")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_LEI = re.compile(r"[A-Z0-9]{18}\d\d")
_ITEM = re.compile(r"Q[1-9]\d{0,11}")
_TICKER = re.compile(r"[A-Z0-9][A-Z0-9.:\- ]{0,14}")
_YEAR = re.compile(r"[+]?(\d{4})(?:\D.*)?", re.DOTALL)
_NUMBER = re.compile(r"[+]?(\d{1,3}(?:[ ,.'\u00a0]\d{3})+|\d{1,9})(?:\.0+)?")


def text(limit: int) -> Callable[[Any], str | None]:
    """Return a normaliser: one line, at most so many characters, None when nothing is left."""

    def normalise(value: Any) -> str | None:
        if not isinstance(value, str):
            return None
        line = " ".join(value.split())
        return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}\u2026"

    return lambda value: normalise(value) or None


def count(value: Any) -> int | None:
    """Return a whole number of 1 to 20 million, also from "1,200"."""
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        value = int(re.sub(r"\D", "", match[1]))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 1 <= value <= 20_000_000 else None


def year(value: Any) -> int | None:
    """Return a year of 1000 to 2100, also from a date."""
    if isinstance(value, str) and (match := _YEAR.fullmatch(value.strip())):
        value = int(match[1])
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 1000 <= value <= 2100 else None


def day(value: Any) -> str | None:
    """Return a date as YYYY-MM-DD, from an ISO date or time."""
    try:
        return date.fromisoformat(str(value).strip()[:10]).isoformat()
    except ValueError:
        return None


def size_range(value: Any) -> str | None:
    """Return a range of employees, "51-200" or "10001+"."""
    if not isinstance(value, str) or not (
        match := _RANGE.fullmatch(value.replace(",", "").strip())
    ):
        return None
    return f"{match[3]}+" if match[3] else f"{match[1]}-{match[2]}"


def web_url(value: Any) -> str | None:
    """Return a web address with scheme, without fragment, user name and password."""
    address = value.strip() if isinstance(value, str) else ""
    if not address or len(address) > 2_048 or any(letter.isspace() for letter in address):
        return None
    if "://" not in address:
        address = "https://" + address.removeprefix("//")
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or "." not in (parts.hostname or ""):
        return None
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme.lower()}://{parts.hostname}{port}{parts.path or '/'}{query}"


def social_url(value: Any) -> str | None:
    """Return a profile's address over HTTPS, without query and closing slash."""
    address = web_url(value)
    if address is None:
        return None
    bare = address.partition("?")[0].rstrip("/")
    host, slash, path = bare.partition("://")[2].partition("/")
    return f"https://{host}{slash}{path}" if path else None


def _matching(
    pattern: re.Pattern[str], change: Callable[[str], str]
) -> Callable[[Any], str | None]:
    def normalise(value: Any) -> str | None:
        changed = change(value.strip()) if isinstance(value, str) else ""
        return changed if pattern.fullmatch(changed) else None

    return normalise


def lei(value: Any) -> str | None:
    """Return a Legal Entity Identifier whose check digits are right (ISO 17442)."""
    code = _matching(_LEI, lambda given: given.replace(" ", "").upper())(value)
    if code is None or int("".join(str(int(letter, 36)) for letter in code)) % 97 != 1:
        return None
    return code


def _language(value: Any) -> str | None:
    return _matching(_LANGUAGE, lambda given: re.split(r"[-_]", given.lower())[0])(value)


def _phone(value: Any) -> str | None:
    return _matching(_PHONE, lambda given: re.sub(r"[\s().\-/]", "", given))(value)


def _country(value: Any) -> str | None:
    return alpha2(value) if isinstance(value, str) else None


def _folded(value: Any) -> str:
    return fold(str(value)) or str(value)


def _name_key(value: Any) -> str:
    return "".join(core_tokens(str(value))) or str(value)


def _digits(value: Any) -> str:
    return re.sub(r"[\W_]+", "", str(value)).casefold()


def _page_key(value: Any) -> str:
    return re.sub(r"^https?://(?:www\.)?", "", str(value)).rstrip("/").casefold()


def _host_key(value: Any) -> str:
    return _page_key(value).partition("/")[0]


_SITE_FIRST = ("site", "pdl", "wikidata", "rdap", "list")
_BOUGHT_FIRST = ("pdl", "wikidata", "site", "list")

RULES: Final[Mapping[str, FieldRule]] = MappingProxyType(
    {
        "name": FieldRule(
            "Name the company goes by.",
            ("site", "pdl", "wikidata", "list", "rdap"),
            text(200),
            _name_key,
        ),
        "legal_name": FieldRule(
            "Registered name with its legal form.", _SITE_FIRST, text(300), _folded
        ),
        "description": FieldRule(
            "What the company says it does, in its own words if there are any.",
            _SITE_FIRST,
            text(2_000),
            _folded,
        ),
        "industry": FieldRule("Branch of business.", _BOUGHT_FIRST, text(200), _folded),
        "size_range": FieldRule(
            'Range of the number of employees, such as "51-200" or "10001+".',
            _BOUGHT_FIRST,
            size_range,
            str,
        ),
        "employees": FieldRule(
            "Number of employees.", ("site", "pdl", "wikidata"), count, str, FieldType.INTEGER
        ),
        "founded": FieldRule(
            "Year of foundation.", ("site", "wikidata", "pdl"), year, str, FieldType.INTEGER
        ),
        "company_type": FieldRule(
            "Kind of organisation: private, public, nonprofit, educational, government.",
            _BOUGHT_FIRST,
            text(60),
            _folded,
        ),
        "country": FieldRule(
            "Country of the head office, ISO 3166-1 alpha-2.", _SITE_FIRST, _country, str
        ),
        "region": FieldRule("State or region of the head office.", _SITE_FIRST, text(120), _folded),
        "city": FieldRule("City of the head office.", _SITE_FIRST, text(120), _folded),
        "postcode": FieldRule("Postal code of the head office.", _SITE_FIRST, text(20), _digits),
        "street": FieldRule(
            "Street and number of the head office.", _SITE_FIRST, text(200), _folded
        ),
        "phones": FieldRule(
            "Telephone numbers in E.164, fax numbers left out.",
            _SITE_FIRST,
            _phone,
            str,
            max_entries=10,
        ),
        "emails": FieldRule(
            "The company's general e-mail addresses (such as info@), not those of persons.",
            _SITE_FIRST,
            _matching(_EMAIL, str.lower),
            str,
            max_entries=10,
        ),
        "social": FieldRule(
            "The company's profiles in social networks.",
            _SITE_FIRST,
            social_url,
            _page_key,
            max_entries=15,
        ),
        "website": FieldRule("Address of the home page.", _SITE_FIRST, web_url, _host_key),
        "language": FieldRule("Language of the home page, ISO 639.", _SITE_FIRST, _language, str),
        "registered_on": FieldRule(
            "Day the domain was registered, YYYY-MM-DD.", ("rdap",), day, str
        ),
        "registrar": FieldRule(
            "Registrar the domain is held through.", ("rdap",), text(200), _name_key
        ),
        "registration": FieldRule(
            "Numbers in commercial and tax registers, as written on the site.",
            _SITE_FIRST,
            text(200),
            _digits,
            max_entries=5,
        ),
        "lei": FieldRule(
            "Legal Entity Identifier (ISO 17442).", ("gleif", "site", "wikidata"), lei, str
        ),
        "wikidata_id": FieldRule(
            "Number of the company's item in Wikidata.",
            ("wikidata", "site"),
            _matching(_ITEM, str.upper),
            str,
        ),
        "ticker": FieldRule(
            "Stock exchange symbol.", ("wikidata", "pdl"), _matching(_TICKER, str.upper), str
        ),
        "logo_url": FieldRule("Address of the logo.", ("site", "wikidata"), web_url, _page_key),
    }
)
