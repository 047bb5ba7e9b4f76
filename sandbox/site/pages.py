"""Renders the pages of a company's site from its truth.

Four layouts, six languages and drawn wordings, so that two companies do not look alike. Everything
that comes from a domain list is escaped.
"""

from html import escape

import orjson

from sandbox.truth import EmailForm, Markup, Truth
from sandbox.wording import PAGES, wording_of

_CURRENCIES = {"US": "$", "GB": "£", "CA": "CA$", "AU": "AU$", "CH": "CHF"}
_COLOURS = ("#1d4e89", "#7a1f3d", "#2f6b3c", "#444", "#8a5a00", "#4b2e83")
_NAV_PAGES = ("home", *PAGES)


def navigation(truth: Truth, *, is_absolute: bool = False) -> str:
    """Return the site's own links, in the form its layout gives them.

    Args:
        truth: The company and its site.
        is_absolute: Full URLs, for pages that may hold a `<base>` of somebody else's.
    """
    site = truth.site
    origin = f"https://{site.host}" if is_absolute or site.layout == 2 else ""
    links = [(origin + site.paths[page], escape(site.labels[page])) for page in _NAV_PAGES]
    if site.layout == 0:
        items = "".join(f'<li><a href="{path}">{label}</a></li>' for path, label in links)
        return f'<nav class="main-nav"><ul>{items}</ul></nav>'
    if site.layout == 1:
        return '<div id="menu">' + " | ".join(
            f'<a href="{path}">{label}</a>' for path, label in links
        ) + "</div>"  # fmt: skip
    if site.layout == 2:
        return "<nav>" + "\n".join(
            f'<a class="nav-link" href="{path}"><span>{label}</span></a>'
            for path, label in links
        ) + "</nav>"  # fmt: skip
    cells = "".join(
        f'<td><a href="{path}" title="{label}">{label}</a></td>' for path, label in links
    )
    return f'<table role="presentation"><tr>{cells}</tr></table>'


def render(truth: Truth, page: str, nav: str) -> str:
    """Return the whole HTML of one page.

    Args:
        truth: the company.
        page: a key of the site's paths.
        nav: what `navigation` returned, the same for all pages of a site.
    """
    site = truth.site
    title = _title(truth, page)
    colour = _COLOURS[len(truth.domain) % len(_COLOURS)]
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f'<meta name="description" content="{escape(truth.summary)}">',
        f'<link rel="canonical" href="https://{site.host}{site.paths[page]}">',
        f"<style>body{{font-family:sans-serif;margin:0 6%}}a{{color:{colour}}}</style>",
    ]
    if site.has_open_graph:
        head.extend(_open_graph(truth, page, title))
    if site.markup is Markup.JSON_LD and page in ("home", "about", "contact"):
        head.append(_json_ld(truth))
    main = _main(truth, page)
    order = f"{main}{nav}" if site.layout == 3 else f"<header>{nav}</header>{main}"
    return (
        f'<!DOCTYPE html>\n<html lang="{truth.language}">\n<head>\n' + "\n".join(head)
        + f'\n</head>\n<body class="layout-{site.layout} {page.partition(".")[0]}">\n'
        + f"{order}\n{_footer(truth)}\n</body>\n</html>\n"
    )  # fmt: skip


def not_found_page(truth: Truth) -> str:
    """Return the page of a path that the site does not have."""
    missing = wording_of(truth.language).words["missing"]
    return (
        f'<!DOCTYPE html><html lang="{truth.language}"><head><title>{missing}</title></head>'
        f"<body><h1>404</h1><p>{missing}</p></body></html>"
    )


def parked_page(domain: str) -> str:
    """Return the page of a domain that is for sale: nothing about a company."""
    return (
        f"<!DOCTYPE html><html lang=en><head><title>{domain} is for sale</title>"
        '<meta name="robots" content="noindex"></head><body>'
        f"<h1>{domain}</h1><p>This domain may be for sale. Buy this domain today.</p>"
        "<ul><li>Car insurance</li><li>Online degrees</li><li>Cheap flights</li></ul>"
        "<p>This page is provided by the registrar as a parking service.</p></body></html>"
    )


def _title(truth: Truth, page: str) -> str:
    if page == "home":
        return f"{truth.name} – {truth.tagline}" if truth.site.layout % 2 else truth.name
    if page.startswith("news."):
        return f"{truth.news[int(page[5:])].title} | {truth.name}"
    return f"{truth.site.labels[page]} | {truth.name}"


def _open_graph(truth: Truth, page: str, title: str) -> list[str]:
    kind = "article" if page.startswith("news.") else "website"
    pairs = (
        ("og:type", kind),
        ("og:title", title),
        ("og:site_name", truth.name),
        ("og:description", truth.summary),
        ("og:url", f"https://{truth.site.host}{truth.site.paths[page]}"),
        ("og:locale", f"{truth.language}_{truth.country}"),
    )
    return [f'<meta property="{name}" content="{escape(value)}">' for name, value in pairs]


def _json_ld(truth: Truth) -> str:
    address = truth.address
    content = {
        "@context": "https://schema.org",
        "@type": "Corporation" if truth.type == "public" else "Organization",
        "name": truth.name,
        "legalName": truth.legal_name,
        "url": truth.website,
        "description": truth.summary,
        "foundingDate": str(truth.founded),
        "telephone": truth.phone.printed,
        "numberOfEmployees": {"@type": "QuantitativeValue", "value": truth.employees},
        "address": {
            "@type": "PostalAddress",
            "streetAddress": address.street,
            "postalCode": address.postcode,
            "addressLocality": address.city,
            "addressRegion": address.region,
            "addressCountry": address.country,
        },
        "sameAs": list(truth.social.values()),
    }
    if truth.email_form in (EmailForm.MAILTO, EmailForm.TEXT):
        content["email"] = truth.email
    if truth.vat_number:
        content["vatID"] = truth.vat_number
    text = orjson.dumps(content).decode().replace("<", "\\u003c")
    return f'<script type="application/ld+json">{text}</script>'


def _main(truth: Truth, page: str) -> str:
    words = wording_of(truth.language)
    pick = sum(truth.domain.encode())
    fills = {
        "name": escape(truth.name),
        "city": truth.address.city,
        "country": truth.country_name,
        "industry": truth.industry.local,
        "founded": truth.founded,
        "employees": truth.employees,
    }

    def say(variants: list[str], count: int = 1) -> str:
        chosen = [variants[(pick + index) % len(variants)] for index in range(count)]
        return "".join(f"<p>{text.format(**fills)}</p>" for text in chosen)

    heading = f"<h1>{escape(truth.site.labels.get(page, truth.name))}</h1>"
    match page:
        case "home":
            heading = f"<h1>{escape(truth.tagline)}</h1><p>{escape(truth.summary)}</p>"
            body = say(words.about_text, 2) + _product_list(truth) + _news_list(truth)
        case "about":
            body = say(words.about_text, 4) + _facts(truth)
        case "contact":
            body = say(words.contact_text, 2) + _contact_block(truth)
        case "team":
            body = say(words.team_text) + _people(truth)
        case "legal":
            body = _imprint(truth)
        case "pricing":
            body = say(words.pricing_text, 2) + _price_table(truth)
        case "products":
            body = say(words.products_text, 2) + _product_list(truth)
        case "news":
            body = _news_list(truth)
        case _:
            post = truth.news[int(page.removeprefix("news."))]
            heading = (
                f'<h1>{escape(post.title)}</h1><time datetime="{post.date}">{post.date}</time>'
            )
            body = f"<article>{say(words.news_text, 3)}</article>"
    return f"<main>{heading}{body}</main>"


def _facts(truth: Truth) -> str:
    words = wording_of(truth.language).words
    return (
        f"<dl><dt>{words['founded']}</dt><dd>{truth.founded}</dd>"
        f"<dt>{words['employees']}</dt><dd>{truth.employees}</dd></dl>"
    )


def _email(truth: Truth) -> str:
    email = truth.email
    local, _, domain = email.partition("@")
    match truth.email_form:
        case EmailForm.MAILTO:
            return f'<a href="mailto:{email}">{email}</a>'
        case EmailForm.TEXT:
            return email
        case EmailForm.BRACKETS:
            return f"{local} [at] {domain}"
        case EmailForm.WORDS:
            return f"{local} (at) {domain.replace('.', ' (dot) ')}"
        case EmailForm.ENTITIES:
            return "".join(f"&#{ord(sign)};" for sign in email)


def _phone(truth: Truth) -> str:
    if truth.site.layout % 2:
        return truth.phone.printed
    return f'<a href="tel:{truth.phone.e164}">{truth.phone.printed}</a>'


def _address(truth: Truth) -> str:
    address = truth.address
    if truth.country in ("US", "GB", "CA", "AU", "IE", "NZ", "IN"):
        city_line = f"{address.city}, {address.region} {address.postcode}".strip()
    else:
        city_line = f"{address.postcode} {address.city}".strip()
    return f"{escape(address.street)}<br>{escape(city_line)}<br>{escape(truth.country_name)}"


def _contact_block(truth: Truth) -> str:
    words = wording_of(truth.language).words
    if truth.site.markup is Markup.MICRODATA:
        address = truth.address
        return (
            '<div itemscope itemtype="https://schema.org/Organization">'
            f'<b itemprop="name">{escape(truth.name)}</b>'
            '<div itemprop="address" itemscope itemtype="https://schema.org/PostalAddress">'
            f'<span itemprop="streetAddress">{escape(address.street)}</span>, '
            f'<span itemprop="postalCode">{address.postcode}</span> '
            f'<span itemprop="addressLocality">{escape(address.city)}</span> '
            f'<span itemprop="addressCountry">{address.country}</span></div>'
            f'{words["phone"]}: <span itemprop="telephone">{truth.phone.printed}</span>'
            f" {words['email']}: {_email(truth)}</div>"
        )
    return (
        f"<address><strong>{escape(truth.legal_name)}</strong><br>{_address(truth)}</address>"
        f"<p>{words['phone']}: {_phone(truth)}</p><p>{words['email']}: {_email(truth)}</p>"
    )


def _imprint(truth: Truth) -> str:
    words = wording_of(truth.language).words
    vat = f"<p>{words['vat']}: {truth.vat_number}</p>" if truth.vat_number else ""
    return (
        _contact_block(truth)
        + f"<p>{words['manager']}: {escape(truth.team[0].name)}</p>"
        + f"<p>{words['register']}: {escape(truth.registration_number)}</p>{vat}"
    )


def _people(truth: Truth) -> str:
    return "<ul>" + "".join(
        f'<li><h3>{escape(one.name)}</h3><p class="role">{escape(one.role)}</p></li>'
        for one in truth.team
    ) + "</ul>"  # fmt: skip


def _product_list(truth: Truth) -> str:
    return '<section class="products">' + "".join(
        f"<h3>{escape(one.name)}</h3><p>{truth.industry.local}</p>" for one in truth.products
    ) + "</section>"  # fmt: skip


def _price_table(truth: Truth) -> str:
    currency = _CURRENCIES.get(truth.country, "€")
    month = wording_of(truth.language).words["month"]
    return "<table>" + "".join(
        f"<tr><th>{escape(one.name)}</th><td>{currency} {one.price} {month}</td></tr>"
        for one in truth.products
    ) + "</table>"  # fmt: skip


def _news_list(truth: Truth) -> str:
    read = wording_of(truth.language).words["read"]
    return '<section class="news">' + "".join(
        f'<h3>{escape(post.title)}</h3><time datetime="{post.date}">{post.date}</time> '
        f'<a href="{truth.site.paths[f"news.{index}"]}">{read}</a>'
        for index, post in enumerate(truth.news)
    ) + "</section>"  # fmt: skip


def _footer(truth: Truth) -> str:
    words = wording_of(truth.language).words
    social = " ".join(
        f'<a href="{url}" rel="noopener">{name.capitalize()}</a>'
        for name, url in truth.social.items()
    )
    legal = truth.site.paths["legal"]
    label = escape(truth.site.labels["legal"])
    return (
        f"<footer><p>© {truth.founded}–2026 {escape(truth.legal_name)} · "
        f'<a href="{legal}">{label}</a></p><p>{social}</p>'
        f'<p class="cookies">{words["privacy"]}</p></footer>'
    )
