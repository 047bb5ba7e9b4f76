"""A corpus of real pages on many hosts, as files for a web server.

Every host has a home page and `pages - 1` others, each a real page of a business or a real article.
Home pages link to the others by the words that sites use for them; what else they link to on their
own host is taken out, so that every scraper finds the same pages. A comment makes each page
different from all others: a scraper that keeps what it has seen once gains nothing.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PATHS = (
    "about",
    "contact",
    "team",
    "impressum",
    "products",
    "pricing",
    "careers",
    "press",
    "about-us",
    "contact-us",
    "our-team",
    "legal",
    "services",
    "prices",
    "jobs",
    "news",
    "company",
    "kontakt",
    "people",
    "legal-notice",
)
ROBOTS = b"User-agent: *\nDisallow: /admin/\nDisallow: /search\n"
_BASE = re.compile(rb"<base\b[^>]*>", re.IGNORECASE)
_OWN_LINK = re.compile(rb"""(href\s*=\s*["'])(?!https?:|//|mailto:|tel:|#)[^"']*""", re.IGNORECASE)


@dataclass(frozen=True)
class Corpus:
    """The corpus as it lies on the disk.

    Args:
        root: One folder a host, named without its ending; each page as itself and as `.gz`.
        hosts: All hosts.
        pages: Pages of a host, home included.
    """

    root: Path
    hosts: Sequence[str]
    pages: int

    @property
    def total(self) -> int:
        """Pages of all hosts."""
        return len(self.hosts) * self.pages


def real_pages(data: Path) -> list[bytes]:
    """The real pages of the data folder, as bytes."""
    pages = [path.read_bytes() for path in sorted(data.glob("business_pages/**/*.html"))]
    articles = sorted(data.glob("articles/html/*.html.gz"))
    return pages + [gzip.decompress(path.read_bytes()) for path in articles]


def write_corpus(root: Path, documents: Sequence[bytes], *, hosts: int, pages: int) -> Corpus:
    """Write the corpus below a folder.

    Args:
        documents: Real pages, used in turn.
        hosts: Number of hosts.
        pages: Pages of each, home included; 21 at most.
    """
    assert pages - 1 <= len(_PATHS)
    names = [f"site-{number:04}.example" for number in range(hosts)]
    for number, name in enumerate(names):
        folder = root / name.partition(".")[0]
        folder.mkdir(parents=True)
        paths = _PATHS[: pages - 1]
        for place, path in enumerate(("index", *paths)):
            body = documents[(number * pages + place) % len(documents)]
            body += f"\n<!-- {name} {path} -->\n".encode()
            if path == "index":
                body = _linked(body, paths)
            (folder / f"{path}.html").write_bytes(body)
            (folder / f"{path}.html.gz").write_bytes(gzip.compress(body, 6))
        (folder / "robots.txt").write_bytes(ROBOTS)
    return Corpus(root, names, pages)


def _linked(body: bytes, paths: Sequence[str]) -> bytes:
    links = "".join(f'<a href="/{path}">{path.replace("-", " ")}</a> ' for path in paths)
    own = _OWN_LINK.sub(rb"\1#", _BASE.sub(b"", body))
    opened = re.search(rb"<body[^>]*>", own, re.IGNORECASE)
    place = opened.end() if opened else 0
    return own[:place] + f"<nav>{links}</nav>".encode() + own[place:]
