"""Answers requests to company sites: pages, redirects, robots.txt, sitemaps, conditional requests.

Rendered answers are kept in a bounded cache; everything can be drawn again from the seed, so that
memory stays flat however many sites are asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote

from sandbox.answers import HTML, TEXT, Answer, Request, make_answer, text_answer
from sandbox.companies import Companies
from sandbox.compression import Segment, checksum, deflate, gzip_parts, inflate
from sandbox.domain_list import bare_domain
from sandbox.site.corpus import Corpus
from sandbox.site.crawl_files import is_disallowed, robots_txt, sitemap
from sandbox.site.pages import navigation, not_found_page, parked_page, render
from sandbox.truth import SiteState, Truth

# A rendered page holds its whole body; a corpus page only points at the file's segments.
_KEPT_PAGES = 4096
_KEPT_CORPUS_PAGES = 16_384
_KEPT_SITES = 4096
_XML = "application/xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class SiteView:
    """What is worked out once for a host."""

    truth: Truth
    pages: dict[str, str]
    navigation: str
    woven_navigation: Segment
    redirect_to: str | None
    last_modified: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page ready to send, and the headers by which a client may know that it has it."""

    full: Answer
    validators: dict[str, str]


class Sites:
    """All company sites of one sandbox."""

    def __init__(self, companies: Companies, corpus: Corpus | None) -> None:
        self._companies = companies
        self._corpus = corpus
        self._view = lru_cache(maxsize=_KEPT_SITES)(self._make_view)
        kept_pages = _KEPT_PAGES if corpus is None else _KEPT_CORPUS_PAGES
        self._rendered = lru_cache(maxsize=kept_pages)(self._render)

    def answer(self, request: Request) -> Answer:
        """Answer one request to a company site."""
        if request.method not in ("GET", "HEAD"):
            return make_answer(405, b"", HTML, {"Allow": "GET, HEAD"})
        view = self._view(request.host)
        if view is None:
            return text_answer(404, f"no site can be at {request.host!r}: it is no domain")
        truth = view.truth
        if truth.site.state is SiteState.MISSING:
            return make_answer(404, b"<h1>Not Found</h1>", HTML)
        if truth.site.state is SiteState.PARKED:
            return self._parked(truth.domain, request.path)
        if view.redirect_to is not None:
            query = f"?{request.query}" if request.query else ""
            return make_answer(
                301, b"", HTML, {"Location": f"{view.redirect_to}{request.path}{query}"}
            )
        return self._crawl_file(truth, request.path) or self._page(view, request)

    def forbids(self, host: str, path: str) -> bool:
        """Say whether the robots.txt of a host forbids a path."""
        view = self._view(host)
        return view is not None and is_disallowed(view.truth, path)

    def _make_view(self, host: str) -> SiteView | None:
        domain = bare_domain(host)
        if not domain:
            return None
        truth = self._companies.truth_of(domain)
        site = truth.site
        modified = datetime.fromisoformat(site.last_modified)
        is_other_host = host != site.host
        links = navigation(truth)
        # Corpus pages are in any charset, so that only ASCII may be put into them.
        woven = b""
        if self._corpus is not None:
            woven = navigation(truth, is_absolute=True).encode("ascii", "xmlcharrefreplace")
        return SiteView(
            truth,
            {path: page for page, path in site.paths.items()},
            links,
            deflate(woven, level=1),
            f"https://{site.host}" if is_other_host and site.redirects_other_host else None,
            format_datetime(modified, usegmt=True),
            modified,
        )

    @staticmethod
    def _parked(domain: str, path: str) -> Answer:
        if path == "/robots.txt" or path.startswith("/sitemap"):
            return make_answer(404, b"", HTML)
        return make_answer(200, parked_page(domain).encode(), HTML)

    @staticmethod
    def _crawl_file(truth: Truth, path: str) -> Answer | None:
        if path == "/robots.txt":
            text = robots_txt(truth)
            return None if text is None else make_answer(200, text.encode(), TEXT)
        if path.startswith("/sitemap"):
            text = sitemap(truth, path)
            return None if text is None else make_answer(200, text.encode(), _XML)
        return None

    def _page(self, view: SiteView, request: Request) -> Answer:
        path = request.path
        page = view.pages.get(path) or view.pages.get(unquote(path).rstrip("/") or "/")
        if page is None:
            return make_answer(404, not_found_page(view.truth).encode(), HTML)
        takes_gzip = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        rendered = self._rendered(request.host, page, takes_gzip)
        if _has_it_already(request.headers, rendered.validators["ETag"], view.modified_at):
            return make_answer(304, b"", HTML, rendered.validators)
        return rendered.full

    def _render(self, host: str, page: str, takes_gzip: bool) -> RenderedPage:
        view = self._view(host)
        if view is None:
            raise ValueError(f"no site at {host!r}")
        truth = view.truth
        content_type = HTML if truth.site.says_charset else "text/html"
        if self._corpus is not None:
            part = self._corpus.page(truth.domain, page)
            segments: tuple[Segment, ...] = (part.before, view.woven_navigation, part.after)
            content_type = "text/html"
        else:
            segments = (deflate(render(truth, page, view.navigation).encode(), level=1),)
        crc = checksum(segments)
        etag = f'W/"{crc:08x}-{sum(part.length for part in segments):x}"'
        validators = {"ETag": etag, "Last-Modified": view.last_modified, "Vary": "Accept-Encoding"}
        if takes_gzip:
            body = gzip_parts(segments, crc)
            headers = validators | {"Content-Encoding": "gzip"}
        else:
            body = tuple(inflate(segment) for segment in segments)
            headers = validators
        return RenderedPage(make_answer(200, body, content_type, headers), validators)


@lru_cache(maxsize=256)
def accepts_gzip(header: str) -> bool:
    """Say whether an Accept-Encoding header allows gzip.

    >>> accepts_gzip("br, gzip;q=0.8"), accepts_gzip("gzip;q=0"), accepts_gzip("identity")
    (True, False, False)
    """
    for entry in header.lower().split(","):
        name, _, weight = entry.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _has_it_already(headers: Mapping[str, str], etag: str, modified_at: datetime) -> bool:
    known = headers.get("If-None-Match")
    if known is not None:
        return known.strip() == "*" or etag in known
    since = headers.get("If-Modified-Since")
    if since is None:
        return False
    try:
        return parsedate_to_datetime(since) >= modified_at
    except (ValueError, TypeError):
        return False
