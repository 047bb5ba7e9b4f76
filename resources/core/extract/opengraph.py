"""What OpenGraph tags say of a business, in the shape that JSON-LD has.

Source: https://ogp.me and the business object of Facebook's older vocabulary.
"""

from collections.abc import Mapping
from typing import Final

from .models import JsonObject

OPENGRAPH_PREFIXES: Final = ("og:", "article:", "business:", "place:", "product:", "profile:")
_TYPES: Final = frozenset(
    """
    business business.business company organization restaurant restaurant.restaurant hotel bar
    cafe place school university non_profit government
    """.split()
)
_FIELDS: Final = (
    ("telephone", ("business:contact_data:phone_number", "og:phone_number")),
    ("faxNumber", ("business:contact_data:fax_number", "og:fax_number")),
    ("email", ("business:contact_data:email", "og:email")),
    ("url", ("business:contact_data:website", "og:url")),
)
_ADDRESS: Final = (
    ("streetAddress", ("business:contact_data:street_address", "og:street-address")),
    ("postalCode", ("business:contact_data:postal_code", "og:postal-code")),
    ("addressLocality", ("business:contact_data:locality", "og:locality")),
    ("addressRegion", ("business:contact_data:region", "og:region")),
    ("addressCountry", ("business:contact_data:country_name", "og:country-name")),
)


def opengraph_organisation(meta: Mapping[str, str]) -> list[JsonObject]:
    """Return the business that the tags describe, or nothing when they describe none.

    >>> opengraph_organisation({"og:type": "website", "og:title": "Acme"})
    []
    """
    address = _picked(meta, _ADDRESS)
    is_business = meta.get("og:type", "").lower() in _TYPES
    name = meta.get("og:site_name") or meta.get("og:title")
    if not name or not (is_business or address):
        return []
    found: JsonObject = {"@type": "Organization", "name": name, **_picked(meta, _FIELDS)}
    return [{**found, "address": {"@type": "PostalAddress", **address}}] if address else [found]


def _picked(meta: Mapping[str, str], fields: tuple[tuple[str, tuple[str, ...]], ...]) -> JsonObject:
    return {
        key: meta[name] for key, names in reversed(fields) for name in names[::-1] if name in meta
    }
