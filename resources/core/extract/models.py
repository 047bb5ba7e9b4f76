"""What extraction finds on a page, as frozen values.

In here: the shapes and their bounds. Not in here: how anything is found (one module for each
kind of fact) and the public JSON form (`serialise`).
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

PhoneKind = Literal["phone", "fax", "mobile"]
JsonObject = dict[str, Any]

MAX_BODY_BYTES: Final = 10_000_000
"""Bytes of a body that are looked at; the rest is cut off before decoding."""
MAX_BODY_CHARS: Final = 5_000_000
"""Characters of a decoded body that are parsed."""
MAX_TEXT_CHARS: Final = 200_000
"""Characters of text kept on a page, and searched for contacts."""
MAX_HEADINGS: Final = 60
MAX_LINKS: Final = 500
MAX_ORGANISATIONS: Final = 20
MAX_OBJECTS: Final = 50
"""JSON-LD objects that are kept of a page."""
MAX_CONTACTS: Final = 100


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone number; `e164` is None when its country could not be told."""

    e164: str | None
    raw: str
    kind: PhoneKind = "phone"


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """A postal address; `country` is an ISO 3166 alpha-2 code, or the word as printed."""

    street: str | None = None
    postcode: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An absolute http(s) link without fragment, and its anchor text."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class ScrapedPage:
    """Everything that was read from one page.

    `jsonld`, `microdata` and `rdfa` hold all objects that were found, the last two in the shape
    that JSON-LD has; `organisations` those of them that are organisations, flattened, with what
    OpenGraph says of a business as the last. `company_name_candidates` are (name, evidence)
    pairs, best first; `company_name` is the first of them. `fingerprint` changes when, and only
    when, title or main text change by more than white space and capitals. `robots` is what
    the page's robots meta tags say, by comma; see `core/robots_directives`.
    """

    url: str
    title: str | None = None
    description: str | None = None
    canonical: str | None = None
    language: str | None = None
    text: str = ""
    headings: tuple[str, ...] = ()
    jsonld: tuple[JsonObject, ...] = ()
    microdata: tuple[JsonObject, ...] = ()
    rdfa: tuple[JsonObject, ...] = ()
    organisations: tuple[JsonObject, ...] = ()
    opengraph: dict[str, str] = field(default_factory=dict)
    emails: tuple[str, ...] = ()
    phones: tuple[Phone, ...] = ()
    addresses: tuple[PostalAddress, ...] = ()
    social: tuple[str, ...] = ()
    company_name: str | None = None
    company_name_candidates: tuple[tuple[str, str], ...] = ()
    legal_name: str | None = None
    registration: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    fingerprint: str = ""
    is_html: bool = True
    charset: str = "utf-8"
    robots: str | None = None


def squeeze(text: str, limit: int = 500) -> str:
    """Collapse white space and control characters, and cut to `limit` characters.

    >>> squeeze("  Acme\\n\\t Ltd ")
    'Acme Ltd'
    """
    return " ".join(text[: limit * 4].replace("\0", " ").split())[:limit].rstrip()
