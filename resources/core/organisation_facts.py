"""Read a schema.org organisation, as a site describes itself in JSON-LD or microdata.

In: one flat object, as `extract` found it. Out: plain values with the profile's field names.
Which of them are believed, and how much, is in `site_facts`.

Source: https://schema.org/Organization
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import phonenumbers

from resources.core.countries import alpha2

_TEXT_FIELDS = {
    "name": "name",
    "legalName": "legal_name",
    "description": "description",
    "foundingDate": "founded",
    "industry": "industry",
}
_NUMBER_FIELDS = {"vatID": "VAT ID", "taxID": "Tax ID", "duns": "D-U-N-S"}


class Address(Protocol):
    """A postal address, as `extract` has it or as it is read here."""

    @property
    def street(self) -> str | None: ...
    @property
    def postcode(self) -> str | None: ...
    @property
    def city(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def country(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class StructuredAddress:
    """A schema.org PostalAddress."""

    street: str | None
    postcode: str | None
    city: str | None
    region: str | None
    country: str | None


@dataclass(frozen=True, slots=True)
class StatedAddress:
    """An address, the page it stands on, and whether structured data gives it."""

    url: str
    is_structured: bool
    address: Address


@dataclass(frozen=True, slots=True)
class Organisation:
    """What an organisation says of itself.

    Args:
        values: (profile field, value) pairs.
        identifiers: The same, for numbers that registers gave out.
        phones: E.164.
        emails: As written, without `mailto:`.
        profiles: Addresses of `sameAs`.
        addresses: Postal addresses.
    """

    values: tuple[tuple[str, str | int], ...]
    identifiers: tuple[tuple[str, str], ...]
    phones: tuple[str, ...]
    emails: tuple[str, ...]
    profiles: tuple[str, ...]
    addresses: tuple[StructuredAddress, ...]


def is_about(data: Mapping[str, Any], domain: str) -> bool:
    """Tell whether an organisation can be the site's owner: it names no other site as its own.

    Partners, sponsors and customers are often described too, with their own `url`.
    """
    hosts = [urlsplit(url).hostname or "" for url in _urls(data.get("url"))]
    named = [host.lower() for host in hosts if host]
    return not named or any(host == domain or host.endswith(f".{domain}") for host in named)


def read_organisation(data: Mapping[str, Any]) -> Organisation:
    """Read an organisation; what has an odd type is left out."""
    addresses = tuple(_addresses(data.get("address")))
    country = next((alpha2(address.country) for address in addresses if address.country), None)
    points = [point for point in _list(data.get("contactPoint")) if isinstance(point, Mapping)]
    phones = [
        _e164(raw, country) for holder in (data, *points) for raw in _texts(holder.get("telephone"))
    ]
    emails = [
        raw.removeprefix("mailto:").strip()
        for holder in (data, *points)
        for raw in _texts(holder.get("email"))
    ]
    return Organisation(
        values=(*_values(data), *_headcount(data.get("numberOfEmployees"))),
        identifiers=tuple(_identifiers(data)),
        phones=tuple(dict.fromkeys(phone for phone in phones if phone)),
        emails=tuple(dict.fromkeys(email for email in emails if "@" in email)),
        profiles=tuple(dict.fromkeys(_urls(data.get("sameAs")))),
        addresses=addresses,
    )


def _values(data: Mapping[str, Any]) -> Iterator[tuple[str, str | int]]:
    for key, field in _TEXT_FIELDS.items():
        for value in _texts(data.get(key))[:1]:
            yield field, value
    logo = _list(data.get("logo"))[:1]
    for entry in logo:
        holder = entry if isinstance(entry, Mapping) else {"url": entry}
        for url in (*_urls(holder.get("url")), *_urls(holder.get("contentUrl")))[:1]:
            yield "logo_url", url


def _identifiers(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for value in _texts(data.get("leiCode"))[:1]:
        yield "lei", value
    for value in _texts(data.get("tickerSymbol"))[:1]:
        yield "ticker", value
    for key, label in _NUMBER_FIELDS.items():
        for value in _texts(data.get(key))[:1]:
            yield "registration", f"{label} {value}"


def _headcount(value: Any) -> Iterator[tuple[str, str | int]]:
    """Yield a number, or a range, from a number, a text or a QuantitativeValue."""
    for entry in _list(value)[:1]:
        if not isinstance(entry, Mapping):
            yield from (("employees", text) for text in _texts(entry) if text[-1:].isdigit())
            yield from (("size_range", text) for text in _texts(entry) if not text.isdigit())
        elif texts := _texts(entry.get("value")):
            yield from _headcount(texts[0])
        else:
            low, high = _texts(entry.get("minValue")), _texts(entry.get("maxValue"))
            if low:
                yield "size_range", f"{low[0]}-{high[0]}" if high else f"{low[0]}+"


def _addresses(value: Any) -> Iterator[StructuredAddress]:
    for entry in _list(value):
        if not isinstance(entry, Mapping):
            continue
        country = entry.get("addressCountry")
        country = country.get("name") if isinstance(country, Mapping) else country
        address = StructuredAddress(
            street=_first(entry.get("streetAddress")),
            postcode=_first(entry.get("postalCode")),
            city=_first(entry.get("addressLocality")),
            region=_first(entry.get("addressRegion")),
            country=_first(country),
        )
        if address.street or address.postcode or address.city or address.country:
            yield address


def _e164(raw: str, country: str | None) -> str | None:
    """Return a number in E.164, or None when its country is unknown or it cannot exist."""
    try:
        number = phonenumbers.parse(raw.removeprefix("tel:"), country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any) -> list[str]:
    """Return texts and numbers as texts, in their order; language-tagged values count too."""
    texts = []
    for entry in _list(value):
        plain = entry.get("@value") if isinstance(entry, Mapping) else entry
        if isinstance(plain, int | float) and not isinstance(plain, bool):
            texts.append(str(int(plain)) if float(plain).is_integer() else str(plain))
        elif isinstance(plain, str) and plain.strip():
            texts.append(plain.strip())
    return texts


def _first(value: Any) -> str | None:
    return next(iter(_texts(value)), None)


def _urls(value: Any) -> list[str]:
    entries = [entry.get("@id") if isinstance(entry, Mapping) else entry for entry in _list(value)]
    return [url for url in _texts(entries) if url.startswith(("http://", "https://"))]
