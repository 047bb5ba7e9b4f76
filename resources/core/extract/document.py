"""One pass over the parsed page: everything the other modules need, as plain values.

The only module that touches the DOM (with `microdata`). It reads and bounds; it judges nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from .blocks import joined
from .main_text import main_blocks
from .markup_guard import make_parsable
from .models import MAX_HEADINGS, MAX_LINKS, MAX_TEXT_CHARS, JsonObject, Link, squeeze
from .structured_items import MICRODATA, RDFA, read_items
from .walk import Walk
from .web_address import absolute

_MAX_NODE_CHARS: Final = 3_000_000
"""Characters of node text read in all: nested headings or links would repeat the same text."""
_MAX_SCRIPT_CHARS: Final = 1_000_000
_MAX_CONTACT_LINKS: Final = 200
_MAX_META: Final = 200
_MAX_HREFS: Final = 5_000
_ROBOTS_NAMES: Final = frozenset(("robots", "pipeline"))
"""All robots, and us by the name that `core/robots_rules` says."""
_LOGO: Final = re.compile(r"logo|brand", re.I)


@dataclass(slots=True)
class Document:
    """What a page says, before anything is made of it. Filled while reading, then only read."""

    url: str
    base: str
    title: str | None = None
    html_lang: str | None = None
    canonical: str | None = None
    meta: dict[str, str] = field(default_factory=dict)
    robots: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    mailto: list[str] = field(default_factory=list)
    tel: list[tuple[str, str]] = field(default_factory=list)
    protected_emails: list[str] = field(default_factory=list)
    logo_texts: list[str] = field(default_factory=list)
    jsonld_scripts: list[str] = field(default_factory=list)
    microdata: list[JsonObject] = field(default_factory=list)
    rdfa: list[JsonObject] = field(default_factory=list)
    main_text: str = ""
    full_text: str = ""
    seen_urls: dict[str, int] = field(default_factory=dict)
    seen_hrefs: dict[str, int] = field(default_factory=dict)
    budget_chars: int = _MAX_NODE_CHARS


def read_document(markup: str, url: str) -> Document:
    """Parse markup and collect what is in it; bounded in every list and text."""
    markup = make_parsable(markup)
    document = Document(url=url, base=url)
    tree = LexborHTMLParser(markup)
    if tree.root is None:
        return document
    root = tree.root.attributes
    document.html_lang = root.get("lang") or root.get("xml:lang")
    walk = Walk()
    walk.run(tree.root)
    hrefs = 0
    for node in walk.elements:
        tag = node.tag or ""
        if tag == "a":
            hrefs += 1
            if hrefs <= _MAX_HREFS:
                _read_link(document, node)
        else:
            _read_element(document, node, tag)
    if "data-cfemail" in markup:
        for node in tree.root.css("[data-cfemail]")[:_MAX_CONTACT_LINKS]:
            _keep(document.protected_emails, (node.attributes.get("data-cfemail") or "")[:400])
    if "itemscope" in markup or "ITEMSCOPE" in markup:
        document.microdata = read_items(tree.root, MICRODATA)
    if "typeof" in markup:
        document.rdfa = read_items(tree.root, RDFA)
    document.full_text = joined(walk.blocks, MAX_TEXT_CHARS)
    document.main_text = joined(main_blocks(walk.blocks, walk.boxes), MAX_TEXT_CHARS)
    return document


def _node_text(document: Document, node: LexborNode, limit: int = 300) -> str:
    if document.budget_chars <= 0:
        return ""
    text = node.text(separator=" ")
    document.budget_chars -= len(text)
    return squeeze(text, limit)


def _read_element(document: Document, node: LexborNode, tag: str) -> None:
    attributes = node.attributes
    if tag == "meta":
        _read_meta(document, attributes)
    elif tag == "img":
        _read_image(document, attributes)
    elif tag in ("h1", "h2", "h3"):
        if len(document.headings) < MAX_HEADINGS and (text := _node_text(document, node)):
            document.headings.append(text)
    elif tag == "script":
        if "ld+json" not in (attributes.get("type") or "").lower():
            return
        text = node.text()
        if len(text) <= _MAX_SCRIPT_CHARS and len(document.jsonld_scripts) < 50:
            document.jsonld_scripts.append(text)
    elif tag == "title":
        if document.title is None:
            document.title = _node_text(document, node, 500) or None
    elif tag == "base":
        document.base = absolute(document.url, attributes.get("href")) or document.base
    elif tag == "link":
        rel = (attributes.get("rel") or "").lower().split()
        if "canonical" in rel and document.canonical is None:
            document.canonical = absolute(document.base, attributes.get("href"))


def _read_meta(document: Document, attributes: dict[str, str | None]) -> None:
    name = (
        attributes.get("property")
        or attributes.get("name")
        or attributes.get("http-equiv")
        or attributes.get("itemprop")
    )
    content = attributes.get("content")
    if name and content and len(document.meta) < _MAX_META:
        document.meta.setdefault(name.strip().lower()[:100], squeeze(content, 2_000))
    is_for_robots = name is not None and name.strip().lower() in _ROBOTS_NAMES
    if is_for_robots and content and len(document.robots) < 20:
        document.robots.append(squeeze(content, 200))


def _read_image(document: Document, attributes: dict[str, str | None]) -> None:
    alt = attributes.get("alt")
    if not alt or len(alt) > 120 or len(document.logo_texts) >= 5:
        return
    marks = (attributes.get("class"), attributes.get("id"), attributes.get("src"), alt)
    if any(_LOGO.search(mark[:300]) for mark in marks if mark):
        document.logo_texts.append(squeeze(alt))


def _read_link(document: Document, node: LexborNode) -> None:
    attributes = node.attributes
    href = (attributes.get("href") or "").strip()
    known = document.seen_hrefs.get(href)
    if not href or (known is not None and document.links[known].text):
        return
    scheme = href[:12].partition(":")[0].lower() if ":" in href[:12] else ""
    match scheme:
        case "mailto":
            _keep(document.mailto, href[7:2_000])
        case "tel" | "callto" | "fax":
            if len(document.tel) < _MAX_CONTACT_LINKS:
                document.tel.append((href[:100], _node_text(document, node, 100)))
        case "javascript" | "data":
            return
        case _ if "/cdn-cgi/l/email-protection#" in href:
            _keep(document.protected_emails, href.partition("#")[2][:400])
        case _ if href[0] != "#" and len(document.links) < MAX_LINKS:
            _keep_link(document, node, attributes, href)


def _keep_link(
    document: Document, node: LexborNode, attributes: dict[str, str | None], href: str
) -> None:
    url = absolute(document.base, href)
    if url is None:
        return
    known = document.seen_urls.get(url)
    if known is not None and document.links[known].text:
        return
    text = _node_text(document, node, 200)
    if not text:
        text = squeeze(attributes.get("title") or attributes.get("aria-label") or "", 200)
        if not text and (image := node.css_first("img[alt]")) is not None:
            text = squeeze(image.attributes.get("alt") or "", 200)
    if known is None:
        document.seen_urls[url] = document.seen_hrefs[href] = len(document.links)
        document.links.append(Link(url, text))
    elif text:
        # A logo or an icon has the words of a later link to the same page.
        document.links[known] = Link(url, text)


def _keep(values: list[str], value: str) -> None:
    if len(values) < _MAX_CONTACT_LINKS:
        values.append(value)
