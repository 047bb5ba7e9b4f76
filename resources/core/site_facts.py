"""Facts about a company from the pages of its own site, each with the page it stands on.

How pages are read is in `extract`; how facts are weighed against other sources, in `profile`. Here
is decided which of the things found are about the company, and how sure that is:

    registered name and register numbers of an imprint       0.90
    home address, identifiers in structured data             0.90
    structured data (JSON-LD, microdata, ...) of the home page    0.85
    role e-mail addresses on the own domain                  0.85
    language                                                 0.80
    structured data of other pages, links to social networks 0.75
    telephone numbers and addresses in the text; the name
      that the home page gives itself                        0.75
    the home page's meta description                         0.65
    the name that another page gives                         0.55
    another page's meta description (weak: about that page)  0.40

Persons are nobody's business here: by default only addresses such as info@ on the company's own
domain are taken. Of several postal addresses one is taken, whole, so that no branch's street ends
up beside the head office's city.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from resources.core.models import Fact
from resources.core.names import fold
from resources.core.organisation_facts import (
    Address,
    Organisation,
    StatedAddress,
    is_about,
    read_organisation,
)

SOURCE: Final = "site"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The first word of the local part.
_ROLES: Final = _words(
    """
    accueil accounting accounts admin administration administracion angebot anfrage ask billing
    biuro bonjour booking bookings buchhaltung buero business career careers clientes comercial
    commercial communications compliance contact contactar contacto contactus contato contatti
    customercare customerservice customersupport datenschutz dataprotection dpo einkauf empfang
    enquiries enquiry events export feedback finance gdpr general hallo hello help helpdesk
    helpline hola hq hr impressum info infos inquiries inquiry international investor investors
    invoice invoices ir jobs karriere kontakt kundenservice legal mail marketing media news
    newsletter office officina online order orders partner partners partnership partnerships post
    postmaster poststelle pr press presse privacy purchasing reception recepcion recruiting
    recruitment reservation reservations rh sales sekretariat service services shop support
    team technik tickets training ventas verkauf versand vertrieb verwaltung vendite webmaster
    welcome zentrale
    """
)
_CONTACT_PAGE = re.compile(
    r"contact|kontakt|impressum|imprint|legal|mentions|about|ueber|uber-uns|aviso|note-legali",
    re.IGNORECASE,
)
_SHARE_LINK = re.compile(r"/(?:sharer?|share-?article|intent|dialog|submit|pin/create)\b|[?&]u=")
_ITEM_URL = re.compile(r"https?://(?:www\.)?wikidata\.org/(?:wiki|entity)/(Q\d+)")


class Contacts(StrEnum):
    """Which e-mail addresses are taken."""

    COMPANY_ONLY = "company_only"
    """Role addresses (info@, sales@) on the company's own domain."""
    ALL = "all"
    """Every address on the pages, persons' included: only where there is a lawful reason."""


class PhoneOnPage(Protocol):
    """A telephone number as `extract` gives it."""

    @property
    def e164(self) -> str | None: ...
    @property
    def kind(self) -> str: ...


class Page(Protocol):
    """What of `extract.ScrapedPage` is used here."""

    @property
    def url(self) -> str: ...
    @property
    def description(self) -> str | None: ...
    @property
    def language(self) -> str | None: ...
    @property
    def organisations(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def emails(self) -> Sequence[str]: ...
    @property
    def phones(self) -> Sequence[PhoneOnPage]: ...
    @property
    def addresses(self) -> Sequence[Address]: ...
    @property
    def social(self) -> Sequence[str]: ...
    @property
    def company_name(self) -> str | None: ...
    @property
    def legal_name(self) -> str | None: ...
    @property
    def registration(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class _Found:
    field: str
    value: Any
    url: str
    confidence: float


def site_facts(
    domain: str,
    pages: Sequence[Page],
    at_by_url: Mapping[str, float],
    *,
    contacts: Contacts = Contacts.COMPANY_ONLY,
) -> tuple[Fact, ...]:
    """Return the facts that a company's pages state.

    Args:
        domain: Registrable domain; what is on another domain is not the company's.
        pages: Pages of the site; the one with the shortest path counts as home page.
        at_by_url: When each page was fetched, epoch seconds, by `Page.url`.
        contacts: Which e-mail addresses are taken.

    Returns:
        Facts without repetition, page by page; empty without pages.

    Raises:
        KeyError: a page is missing in `at_by_url`.
    """
    if not pages:
        return ()
    ordered = sorted(pages, key=_closeness)
    home = ordered[0]
    found: list[_Found] = [*_home(domain, home)]
    stated: list[StatedAddress] = []
    for page in ordered:
        is_home = page is home
        found += _names(page, is_home=is_home)
        found += _contacts(domain, page, contacts)
        for data in page.organisations:
            if is_about(data, domain):
                organisation = read_organisation(data)
                found += _structured(organisation, domain, page.url, contacts, is_home=is_home)
                stated += [StatedAddress(page.url, True, held) for held in organisation.addresses]
        stated += [StatedAddress(page.url, False, address) for address in page.addresses]
    found += _head_office(stated)
    faxes = {phone.e164 for page in pages for phone in page.phones if phone.kind == "fax"}
    facts = (
        Fact(one.field, one.value, SOURCE, one.url, at_by_url[one.url], one.confidence)
        for one in found
        if one.value and not (one.field == "phones" and one.value in faxes)
    )
    return tuple(dict.fromkeys(facts))


def _closeness(page: Page) -> tuple[int, int, str]:
    """Return what pages are sorted by: the home page comes first."""
    parts = urlsplit(page.url)
    path = parts.path.strip("/")
    return (len(path.split("/")) if path else 0, len(page.url), page.url)


def _home(domain: str, page: Page) -> Iterator[_Found]:
    yield _Found("language", page.language, page.url, 0.8)
    parts = urlsplit(page.url)
    if is_on(parts.hostname or "", domain):
        yield _Found("website", f"{parts.scheme}://{parts.netloc}/", page.url, 0.9)


def is_on(host: str, domain: str) -> bool:
    """Tell whether a host is the domain or lies under it."""
    return host.lower() == domain or host.lower().endswith(f".{domain}")


def _names(page: Page, *, is_home: bool) -> Iterator[_Found]:
    yield _Found("name", page.company_name, page.url, 0.75 if is_home else 0.55)
    yield _Found("legal_name", page.legal_name, page.url, 0.9)
    yield _Found("description", page.description, page.url, 0.65 if is_home else 0.4)
    for number in page.registration:
        yield _Found("registration", number, page.url, 0.9)


def _contacts(domain: str, page: Page, contacts: Contacts) -> Iterator[_Found]:
    for email in page.emails:
        if _is_wanted(email, domain, contacts):
            yield _Found("emails", email.lower(), page.url, 0.85)
    for phone in page.phones:
        if phone.kind != "fax":
            yield _Found("phones", phone.e164, page.url, 0.75)
    yield from _social(page.social, page.url, 0.75)


def _social(urls: Sequence[str], page_url: str, confidence: float) -> Iterator[_Found]:
    for url in urls:
        if item := _ITEM_URL.match(url):
            yield _Found("wikidata_id", item[1], page_url, confidence)
        elif not _SHARE_LINK.search(url):
            yield _Found("social", url, page_url, confidence)


def _is_wanted(email: str, domain: str, contacts: Contacts) -> bool:
    if contacts is Contacts.ALL:
        return True
    local, _, host = email.rpartition("@")
    first, *others = re.split(r"[.\-_+]", local.lower())
    # "info-de" is a role, "sales.miller" a person.
    is_role = first in _ROLES and all(word in _ROLES or len(word) <= 3 for word in others)
    return is_role and is_on(host, domain)


def _structured(
    organisation: Organisation, domain: str, url: str, contacts: Contacts, *, is_home: bool
) -> Iterator[_Found]:
    confidence = 0.85 if is_home else 0.75
    for field, value in organisation.values:
        yield _Found(field, value, url, confidence)
    for field, value in organisation.identifiers:
        yield _Found(field, value, url, 0.9)
    for phone in organisation.phones:
        yield _Found("phones", phone, url, confidence)
    for email in organisation.emails:
        if _is_wanted(email, domain, contacts):
            yield _Found("emails", email.lower(), url, 0.85)
    yield from _social(organisation.profiles, url, confidence)


def _head_office(stated: Sequence[StatedAddress]) -> Iterator[_Found]:
    """Yield the parts of one address: the most complete, stated, repeated, and on a contact page.

    An address that names neither city nor postcode is none.
    """
    usable = [one for one in stated if one.address.city or one.address.postcode]
    if not usable:
        return
    times = Counter(_address_key(one) for one in usable)

    def rank(one: StatedAddress) -> tuple[Any, ...]:
        parts = (one.address.street, one.address.postcode, one.address.city)
        return (
            -sum(part is not None for part in parts),
            not one.is_structured,
            -times[_address_key(one)],
            _CONTACT_PAGE.search(urlsplit(one.url).path) is None,
            one.url,
            _address_key(one),
        )

    best = min(usable, key=rank)
    confidence = 0.9 if best.is_structured else 0.75
    for field in ("street", "postcode", "city", "region", "country"):
        yield _Found(field, getattr(best.address, field), best.url, confidence)


def _address_key(one: StatedAddress) -> str:
    parts = (one.address.street, one.address.postcode, one.address.city)
    return "|".join(fold(part or "") for part in parts)
