"""Postal addresses: from structured data, and from text in the usual forms of common countries.

In text, a line that ends an address (postcode with city) is looked for first; the street is
then sought in the few lines before it. Every pattern is bounded, so the cost is linear.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from .address_patterns import (
    CLOSINGS,
    DIGITS,
    LETTERED,
    NEED_NUMBER,
    NUMBERED,
    PLAIN_STREET,
    STREETS,
    Closing,
)
from .models import JsonObject, PostalAddress, squeeze
from .region import region_code

_MAX_ADDRESSES: Final = 30
_LOOK_BACK_CHARS: Final = 160
_TOWN_CHARS: Final = 64
_MAX_ANCHORS: Final = 1_500
_KEYS: Final = ("streetAddress", "postalCode", "addressLocality", "addressRegion", "addressCountry")


def find_addresses(
    organisations: Iterable[JsonObject], text: str, hint: str | None = None
) -> tuple[PostalAddress, ...]:
    """Return addresses, structured ones first, without repeats.

    Args:
        organisations: JSON-LD shaped objects.
        text: visible text with its line breaks.
        hint: ISO country that decides between countries with the same postcode form.
    """
    found: list[PostalAddress] = []
    seen: set[tuple[str, str]] = set()
    for address in [*_structured(organisations), *_printed(text, hint)]:
        street = re.sub(r"\W", "", address.street or "").casefold()[:12]
        key = (street, re.sub(r"\W", "", address.postcode or address.city or "").casefold())
        if key not in seen and len(found) < _MAX_ADDRESSES:
            seen.add(key)
            found.append(address)
    return tuple(found)


def _structured(organisations: Iterable[JsonObject]) -> Iterator[PostalAddress]:
    for item in organisations:
        places = [item, *_as_list(item.get("location")), *_as_list(item.get("department"))]
        for place in places:
            if isinstance(place, Mapping):
                for value in _as_list(place.get("address")):
                    if isinstance(value, Mapping) and (address := _from_mapping(value)):
                        yield address


def _as_list(value: Any) -> list[Any]:
    return value[:20] if isinstance(value, list) else [] if value is None else [value]


def _from_mapping(value: Mapping[str, Any]) -> PostalAddress | None:
    street, postcode, city, region, country = (_text(value.get(key)) for key in _KEYS)
    if not (street or postcode or city):
        return None
    return PostalAddress(street, postcode, city, region, region_code(country) or country)


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        value = ", ".join(str(each) for each in value[:4] if isinstance(each, str | int))
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("@value")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return (squeeze(value, 200).strip(" ,;") or None) if isinstance(value, str) else None


def _printed(text: str, hint: str | None) -> Iterator[PostalAddress]:
    closings = _by_digits(hint)
    count = 0
    for is_lettered, anchors in ((False, DIGITS), (True, LETTERED)):
        done = 0
        for tried, anchor in enumerate(anchors.finditer(text)):
            if tried >= _MAX_ANCHORS or count >= _MAX_ADDRESSES:
                break
            start = anchor.start()
            last = text[start - 1] if start else " "
            if is_lettered and last.isupper():
                start -= 1
                last = text[start - 1] if start else " "
            length = 0 if is_lettered else len(anchor.group())
            if start < done or length > 5 or last.isalnum() or last in ".,/+":
                continue
            for closing in closings[length]:
                found = closing.pattern.match(text, start)
                address = _completed(closing, found, text, hint) if found else None
                if found and address:
                    done = found.end()
                    count += 1
                    yield address
                    break


@lru_cache(maxsize=512)
def _by_digits(hint: str | None) -> tuple[tuple[Closing, ...], ...]:
    """Return the closings to try by how many digits stand together (0: with letters)."""
    ranked = sorted(CLOSINGS, key=lambda each: hint not in each.countries)
    return tuple(tuple(each for each in ranked if count in each.digits) for count in range(6))


def _completed(
    closing: Closing, found: re.Match[str], text: str, hint: str | None
) -> PostalAddress | None:
    groups = found.groupdict()
    lines = before = text[max(0, found.start() - _LOOK_BACK_CHARS) : found.start()]
    if closing.before is not None:
        town = closing.before.search(before, max(0, len(before) - _TOWN_CHARS))
        if town is None:
            return None
        groups |= town.groupdict()
        lines, before = before[: town.end("city")], before[: town.start("city")]
    street, country = _street(closing, before, hint)
    if street is None and closing.before is not None:
        # "493 Charles Street North Perth WA 6006": without a comma the town took the street in.
        street, country = _street(closing, lines, hint)
        if street is None and (plain := PLAIN_STREET.search(before)):
            street = plain["street"]
        elif street is not None:
            rest = lines[lines.rfind(street) + len(street) :].strip(" ,.\n")
            groups["city"] = rest or groups["city"]
    if street is None and (closing.needs_street or len(groups.get("city") or "") < 3):
        return None
    city = groups.get("city") or (_city_before(before, street) if street else None)
    return PostalAddress(
        street=street,
        postcode=squeeze(groups["postcode"]),
        city=squeeze(city).strip(" ,.-") or None if city else None,
        region=groups.get("region"),
        country=country,
    )


def _street(closing: Closing, before: str, hint: str | None) -> tuple[str | None, str]:
    """Find the last street before a closing line, and the country whose form it has."""
    best: tuple[int, str, str] | None = None
    is_numbered: bool | None = None
    for country in closing.countries:
        pattern = STREETS[country]
        if pattern in NEED_NUMBER:
            if is_numbered is None:
                is_numbered = NUMBERED.search(before) is not None
            if not is_numbered:
                continue
        for found in pattern.finditer(before):
            rest = before[found.end() :]
            is_near = rest.count("\n") <= 5
            if is_near and (best is None or found.start() > best[0] or country == hint):
                best = (found.start(), squeeze(found.group(), 120).strip(" ,"), country)
    default = hint if hint in closing.countries else closing.countries[0]
    if best is None:
        return None, default or closing.countries[0]
    same_form = STREETS[best[2]] is STREETS.get(default or "")
    return best[1], default if default and same_form else best[2]


def _city_before(before: str, street: str) -> str | None:
    """Return the town between street and postcode, where a country writes it there."""
    start = before.rfind(street.rsplit(maxsplit=1)[-1])
    rest = before[start + len(street.rsplit(maxsplit=1)[-1]) :] if start >= 0 else ""
    parts = [part.strip(" .,") for part in re.split(r"[,\n]", rest)]
    towns = [part for part in parts if part and not any(c.isdigit() for c in part)]
    return towns[-1] if towns and len(towns[-1]) <= 40 else None
