"""Draws the truth of a company from (seed, domain) and from what a domain list gives.

The same seed, domain and list row give the same company in every process. Nothing is stored but
a bounded number of companies that were asked for lately.
"""

import math
import re
import unicodedata
from functools import lru_cache

from sandbox import registers
from sandbox.domain_list import DomainList, Given
from sandbox.draw import Draw
from sandbox.places import HOME_COUNTRIES, City, countries, country_of_tld
from sandbox.site_plan import draw_site
from sandbox.truth import (
    MISSING_SITE_SHARE,
    PDL_SHARE,
    RDAP_REDACTED_SHARE,
    UNREGISTERED_SHARE,
    UNREGISTERED_WITHOUT_SITE_SHARE,
    WIKIDATA_SHARE,
    Address,
    EmailForm,
    NewsPost,
    Person,
    Phone,
    Product,
    Providers,
    Registration,
    Truth,
)
from sandbox.wording import Wording, industries, wording_of

_KEPT_COMPANIES = 4096
_SIZES = ((10, "1-10"), (50, "11-50"), (200, "51-200"), (500, "201-500"), (1000, "501-1000"),
          (5000, "1001-5000"), (10_000, "5001-10000"))  # fmt: skip
_SUFFIXES = (
    "Group",
    "Solutions",
    "Partners",
    "Works",
    "Systems",
    "Studio",
    "& Co",
    "Labs",
)
_PRODUCTS = (
    "Atlas",
    "Nova",
    "Terra",
    "Linea",
    "Vento",
    "Prisma",
    "Corona",
    "Delta",
    "Ponte",
)
_GRADES = ("Basic", "Plus", "Pro", "Max", "One")
_REGISTRARS = (("Example Registrar GmbH", "9001"), ("Loopback Domains Inc.", "9002"),
               ("Nomen Registrar SAS", "9003"), ("Harbour Names Ltd", "9004"))  # fmt: skip
_EMAIL_FORMS = ((0.55, EmailForm.MAILTO), (0.70, EmailForm.TEXT), (0.82, EmailForm.BRACKETS),
                (0.90, EmailForm.WORDS), (1.0, EmailForm.ENTITIES))  # fmt: skip
_SOCIAL = (("linkedin", 0.8, "https://www.linkedin.com/company/{handle}"),
           ("twitter", 0.5, "https://twitter.com/{handle}"),
           ("facebook", 0.5, "https://www.facebook.com/{handle}"),
           ("instagram", 0.3, "https://www.instagram.com/{handle}"),
           ("youtube", 0.15, "https://www.youtube.com/@{handle}"))  # fmt: skip
_NOTHING_GIVEN = Given()


class Companies:
    """All companies of one sandbox, drawn when they are asked for."""

    def __init__(self, seed: int, listed: DomainList) -> None:
        self.seed = seed
        self.listed = listed
        self.truth_of = lru_cache(maxsize=_KEPT_COMPANIES)(self._draw_company)

    def domain_of_name(self, name: str) -> str | None:
        """Return the listed domain of a company name; names that were drawn have no way back."""
        return self.listed.by_name.get(name.strip().casefold())

    def _draw_company(self, domain: str) -> Truth:
        draw = Draw(self.seed, domain)
        given = self.listed.by_domain.get(domain, _NOTHING_GIVEN)
        return _company(draw, domain, given)


def _company(draw: Draw, domain: str, given: Given) -> Truth:
    code = given.country or country_of_tld(domain) or draw.pick("country", HOME_COUNTRIES)
    country = countries()[code]
    city = draw.pick("city", country.cities)
    words = wording_of(country.language)
    name = given.name or _drawn_name(draw, domain)
    form = registers.legal_form(draw, code)
    industry = draw.pick("industry", industries(country.language))
    founded = draw.number("founded", 1921, 2021)
    employees = round(math.exp(math.log(2) + draw.share("employees") ** 1.6 * math.log(8000)))
    kind = _kind(draw, domain, employees)
    fills = {
        "name": name,
        "city": city.name,
        "country": country.name,
        "industry": industry.local,
        "founded": str(founded),
        "employees": str(employees),
    }
    news = _news(draw, words, fills)
    site = draw_site(draw, domain, words, tuple(post.slug for post in news))
    return Truth(
        domain=domain,
        name=name,
        legal_name=name if name.casefold().endswith(form.casefold()) else f"{name} {form}",
        legal_form=form,
        alternative_names=(name.upper(), domain.partition(".")[0]),
        country=code,
        country_name=country.name,
        continent=country.continent,
        language=country.language,
        website=f"https://{site.host}/",
        founded=founded,
        inception=f"{founded}-{draw.number('month', 1, 12):02d}-{draw.number('day', 1, 28):02d}",
        industry=industry,
        type=kind,
        ticker=draw.filled("ticker", "@@@@") if kind == "public" else None,
        employees=employees,
        size=next((size for top, size in _SIZES if employees <= top), "10001+"),
        address=_address(draw, words, city, code),
        phone=_phone(draw, city),
        email=f"{draw.pick('mailbox', words.mailbox)}@{domain}",
        email_form=next(form for top, form in _EMAIL_FORMS if draw.share("email_form") < top),
        social=_social(draw, domain),
        registration_number=registers.register_entry(draw, code, city.name, city.region),
        vat_number=registers.vat_number(draw, code),
        lei=registers.lei(draw),
        wikidata_id=f"Q{draw.number('qid', 10_000_000, 139_999_999)}",
        pdl_id=draw.filled("pdl_id", "@#@@##@#@#@@#@@##@#@#@@@#@"),
        tagline=draw.pick("hero", words.hero).format(**fills),
        summary=draw.pick("summary", words.summary).format(**fills),
        tags=(industry.pdl, industry.sector, city.name.lower()),
        team=_team(draw, words),
        products=_products(draw),
        news=news,
        providers=Providers(
            pdl=draw.chance("in_pdl", PDL_SHARE),
            wikidata=draw.chance("in_wikidata", WIKIDATA_SHARE),
            rdap=is_registered(draw),
        ),
        registration=_registration(draw, founded),
        site=site,
    )


def is_registered(draw: Draw) -> bool:
    """Say whether the domain is registered; tied to the draw that says whether it has a site."""
    from_site = draw.share("site_state")
    without_site = UNREGISTERED_WITHOUT_SITE_SHARE
    if from_site < MISSING_SITE_SHARE:
        return from_site >= without_site
    rest = (UNREGISTERED_SHARE - without_site) / (1 - MISSING_SITE_SHARE)
    return not draw.chance("unregistered", rest)


def _drawn_name(draw: Draw, domain: str) -> str:
    label = domain.partition(".")[0]
    words = [word.capitalize() for word in re.split(r"[-_]+", label) if word]
    if draw.chance("name_suffix", 0.4):
        words.append(draw.pick("suffix", _SUFFIXES))
    return " ".join(words) or label


def _kind(draw: Draw, domain: str, employees: int) -> str:
    tld = domain.rpartition(".")[2]
    if tld in ("gov", "mil"):
        return "government"
    if tld == "edu" or ".ac." in domain:
        return "educational"
    if tld == "org" and draw.chance("nonprofit", 0.7):
        return "nonprofit"
    return "public" if employees > 1000 and draw.chance("public", 0.4) else "private"


def _address(draw: Draw, words: Wording, city: City, code: str) -> Address:
    street = draw.pick("street", words.street).format(n=draw.number("house", 1, 180))
    return Address(street, draw.filled("postcode", city.postcode), city.name, city.region, code)


def _phone(draw: Draw, city: City) -> Phone:
    international = draw.filled("phone", city.phone_international)
    is_international = draw.chance("phone_international", 0.6)
    printed = international if is_international else draw.filled("phone", city.phone_national)
    return Phone("+" + re.sub(r"\D", "", international), printed, is_international)


def _email_form(draw: Draw) -> EmailForm:
    share = draw.share("email_form")
    return next(form for top, form in _EMAIL_FORMS if share < top)


def _social(draw: Draw, domain: str) -> dict[str, str]:
    handle = domain.partition(".")[0] or domain
    return {
        name: url.format(handle=handle) for name, share, url in _SOCIAL if draw.chance(name, share)
    }


def _team(draw: Draw, words: Wording) -> tuple[Person, ...]:
    count = draw.number("team", 3, 6)
    names = zip(
        draw.several("first", words.first, count),
        draw.several("last", words.last, count),
        words.roles,
        strict=False,
    )
    return tuple(Person(f"{first} {last}", role) for first, last, role in names)


def _products(draw: Draw) -> tuple[Product, ...]:
    lines = draw.several("products", _PRODUCTS, draw.number("product_count", 3, 5))
    return tuple(
        Product(f"{line} {draw.pick(line, _GRADES)}", draw.number(f"{line}.price", 9, 490))
        for line in lines
    )


def _news(draw: Draw, words: Wording, fills: dict[str, str]) -> tuple[NewsPost, ...]:
    titles = draw.several("news", words.news_title, 3)
    posts = []
    for index, title in enumerate(titles):
        text = title.format(**fills)
        plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", plain)
        date = f"2025-{draw.number(f'news.m{index}', 1, 12):02d}-{11 + index}"
        posts.append(NewsPost(slug.strip("-")[:60] or f"post-{index}", text, date))
    return tuple(posts)


def _registration(draw: Draw, founded: int) -> Registration:
    year = max(1996, min(2022, founded + draw.number("registered.year", 0, 8)))
    month_day = f"{draw.number('registered.m', 1, 12):02d}-{draw.number('registered.d', 1, 28):02d}"
    registrar, iana_id = draw.pick("registrar", _REGISTRARS)
    return Registration(
        registered=f"{year}-{month_day}T08:14:27Z",
        changed=f"2025-{month_day}T09:02:11Z",
        expires=f"2027-{month_day}T08:14:27Z",
        registrar=registrar,
        registrar_iana_id=iana_id,
        is_redacted=draw.chance("redacted", RDAP_REDACTED_SHARE),
    )
