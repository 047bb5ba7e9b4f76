"""From the bytes of a page to everything that it says about a company.

The one entry of this package; each kind of fact has a module of its own. Never raises for any
body, and costs linear time on any.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from .addresses import find_addresses
from .charset import decode, is_html
from .company import name_candidates
from .document import Document, read_document
from .emails import clean_email, find_emails
from .imprint import find_legal_name
from .jsonld import find_organisations, read_jsonld
from .language import page_language
from .models import JsonObject, Phone, PostalAddress, ScrapedPage
from .opengraph import OPENGRAPH_PREFIXES, opengraph_organisation
from .phones import find_phones
from .region import phone_regions
from .registration import find_registration
from .social import find_social
from .web_address import host_of


def extract_page(
    body: bytes, url: str, content_type: str | None = None, *, country: str | None = None
) -> ScrapedPage:
    """Extract all that is known how to find.

    Args:
        body: bytes as received, already decompressed.
        url: where they came from; links are joined to it.
        content_type: the HTTP header, if there was one.
        country: ISO code or name, where the caller knows it; reads national telephone numbers.

    Returns:
        The page. `is_html` is False, and everything else empty, for what is not HTML.
    """
    text, charset = decode(body, content_type)
    if not is_html(body, content_type):
        return ScrapedPage(url=url, is_html=False, charset=charset)
    document = read_document(text, url)
    jsonld = read_jsonld(document.jsonld_scripts)
    from_jsonld = find_organisations(jsonld)
    woven = find_organisations([*document.microdata, *document.rdfa])
    organisations = [*from_jsonld, *woven, *opengraph_organisation(document.meta)]
    language = page_language(document.html_lang, document.meta, document.main_text)
    host = host_of(url)
    hint = next(iter(phone_regions(country, (), host, language)), None)
    addresses = find_addresses(organisations, document.full_text, hint)
    legal_name = _legal_name(document, organisations, host)
    names = _names(document, (from_jsonld, woven), legal_name, addresses)
    return ScrapedPage(
        url=url,
        title=document.title,
        description=document.meta.get("description") or document.meta.get("og:description"),
        canonical=document.canonical,
        language=language,
        text=document.main_text,
        headings=tuple(document.headings),
        jsonld=tuple(jsonld),
        microdata=tuple(document.microdata),
        rdfa=tuple(document.rdfa),
        organisations=tuple(organisations),
        opengraph={k: v for k, v in document.meta.items() if k.startswith(OPENGRAPH_PREFIXES)},
        emails=_emails(document, organisations),
        phones=_phones(document, organisations, addresses, country, language),
        addresses=addresses,
        social=find_social(document.links, _strings(organisations, "sameAs")),
        company_name=names[0][0] if names else None,
        company_name_candidates=names,
        legal_name=legal_name,
        registration=find_registration(document.full_text),
        links=tuple(document.links),
        charset=charset,
        fingerprint=_fingerprint(document.title, document.main_text),
        robots=", ".join(document.robots) or None,
    )


def _fingerprint(title: str | None, text: str) -> str:
    """Return 16 hexadecimal digits that change with the words and their order."""
    words = " ".join(f"{title or ''} {text}".casefold().split())
    return hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _names(
    document: Document,
    organisations: tuple[Sequence[JsonObject], Sequence[JsonObject]],
    legal_name: str | None,
    addresses: Sequence[PostalAddress],
) -> tuple[tuple[str, str], ...]:
    return name_candidates(
        document.url,
        *organisations,
        document.meta,
        document.title,
        document.logo_texts,
        document.full_text,
        legal_name,
        [each.street for each in addresses if each.street],
    )


def _legal_name(document: Document, organisations: Sequence[JsonObject], host: str) -> str | None:
    hints = (document.title or "", document.meta.get("og:site_name", ""))
    return find_legal_name(organisations, document.full_text, host, hints)


def _emails(document: Document, organisations: Sequence[JsonObject]) -> tuple[str, ...]:
    found = dict.fromkeys(
        find_emails(document.full_text, document.mailto, document.protected_emails)
    )
    for value in _strings(organisations, "email"):
        if address := clean_email(value):
            found.setdefault(address)
    return tuple(found)


def _phones(
    document: Document,
    organisations: Sequence[JsonObject],
    addresses: Sequence[PostalAddress],
    country: str | None,
    language: str | None,
) -> tuple[Phone, ...]:
    countries = [each.country for each in addresses]
    regions = phone_regions(country, countries, host_of(document.url), language)
    links = list(document.tel)
    links += [(f"tel:{each}", "") for each in _strings(organisations, "telephone")]
    links += [(f"fax:{each}", "") for each in _strings(organisations, "faxNumber")]
    return find_phones(document.full_text, links, regions)


def _strings(organisations: Sequence[JsonObject], key: str) -> Iterator[str]:
    """Yield the values of a key, of the organisations and of their contact points."""
    for item in organisations:
        points = item.get("contactPoint")
        for holder in [item, *(points[:10] if isinstance(points, list) else [points])]:
            value: Any = holder.get(key) if isinstance(holder, dict) else None
            for each in value[:20] if isinstance(value, list) else [value]:
                if isinstance(each, str) and each:
                    yield each[:500]
