"""What is true of a company in this internet: the record that every answer is derived from.

`GET /_sandbox/truth/<domain>` answers a `Truth` as it stands here. The shares below are of all
domains, by hash of (seed, domain):

| what | share |
|---|---|
| a site that works | 97 % |
| no site: every page answers 404 (two thirds of them are not registered either) | 1.5 % |
| robots.txt forbids everything | 1 % |
| a parked page instead of a site | 0.5 % |
| in People Data Labs | 70 % |
| in Wikidata | 45 % |
| registered at RDAP | 97 % |

This module holds shapes and shares only; `companies.py` draws the values.
"""

from dataclasses import dataclass
from enum import StrEnum

MISSING_SITE_SHARE = 0.015
ROBOTS_FORBID_SHARE = 0.010
PARKED_SHARE = 0.005
PDL_SHARE = 0.70
WIKIDATA_SHARE = 0.45
UNREGISTERED_SHARE = 0.03
UNREGISTERED_WITHOUT_SITE_SHARE = 0.010
RDAP_REDACTED_SHARE = 0.80


class SiteState(StrEnum):
    """Whether there is a company site at a domain."""

    WORKS = "works"
    MISSING = "missing"
    PARKED = "parked"


class RobotsRule(StrEnum):
    """What a site's robots.txt says."""

    NONE = "none"
    OPEN = "open"
    SOME = "some"
    FORBID_ALL = "forbid_all"


class EmailForm(StrEnum):
    """How a site prints its address."""

    MAILTO = "mailto"
    TEXT = "text"
    BRACKETS = "brackets"
    WORDS = "words"
    ENTITIES = "entities"


class Markup(StrEnum):
    """Which structured data a site carries."""

    JSON_LD = "json-ld"
    MICRODATA = "microdata"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the company sits."""

    street: str
    postcode: str
    city: str
    region: str
    country: str


@dataclass(frozen=True, slots=True)
class Phone:
    """One number: as dialled, and as the site prints it."""

    e164: str
    printed: str
    is_international: bool


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the team page."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Industry:
    """An industry under the names that the providers and the site's language give it."""

    pdl: str
    label: str
    naics: str
    sector: str
    local: str


@dataclass(frozen=True, slots=True)
class Product:
    """Something the site sells."""

    name: str
    price: int


@dataclass(frozen=True, slots=True)
class NewsPost:
    """A post of the news page."""

    slug: str
    title: str
    date: str


@dataclass(frozen=True, slots=True)
class Providers:
    """Which providers hold the company."""

    pdl: bool
    wikidata: bool
    rdap: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """The domain's own registration, as RDAP tells it."""

    registered: str
    changed: str
    expires: str
    registrar: str
    registrar_iana_id: str
    is_redacted: bool


@dataclass(frozen=True, slots=True)
class Site:
    """How the company's site behaves and looks."""

    state: SiteState
    robots: RobotsRule
    crawl_delay_s: int | None
    disallowed: tuple[str, ...]
    host: str
    redirects_other_host: bool
    has_sitemap: bool
    has_sitemap_index: bool
    markup: Markup
    has_open_graph: bool
    says_charset: bool
    layout: int
    last_modified: str
    paths: dict[str, str]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that is true of one company."""

    domain: str
    name: str
    legal_name: str
    legal_form: str
    alternative_names: tuple[str, ...]
    country: str
    country_name: str
    continent: str
    language: str
    website: str
    founded: int
    inception: str
    industry: Industry
    type: str
    ticker: str | None
    employees: int
    size: str
    address: Address
    phone: Phone
    email: str
    email_form: EmailForm
    social: dict[str, str]
    registration_number: str
    vat_number: str | None
    lei: str
    wikidata_id: str
    pdl_id: str
    tagline: str
    summary: str
    tags: tuple[str, ...]
    team: tuple[Person, ...]
    products: tuple[Product, ...]
    news: tuple[NewsPost, ...]
    providers: Providers
    registration: Registration
    site: Site
