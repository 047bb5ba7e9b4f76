"""Fetches a site's sitemaps, as far as they are worth it: few files, of their own site, and of a
long one only the beginning.

robots.txt names them, or they lie where most do. They pass the same fetcher as pages: guard, limits
and pace are the same. What a sitemap says is not here (`core/sitemap`), nor which of its pages are
visited (`core/extract/page_choice`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from resources.adapters.fetcher import Fetcher, MayAsk, Response
from resources.adapters.inflate import BrokenEncodingError, Inflater
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.extract.web_address import host_of, is_within
from resources.core.sitemap import MOST_URLS, read_sitemap

MOST_FILES = 3
MOST_BYTES = 2_000_000
_GZIP_MAGIC = b"\x1f\x8b"
_ABOUT_PAGES = ("page", "seite", "static", "main", "site")
_ABOUT_OTHERS = ("post", "product", "tag", "categor", "image", "video", "news", "author", "blog")
_OURS = {FailureKind.STORE, FailureKind.BUG, FailureKind.LEASE_LOST}


@dataclass(slots=True)
class SitemapPages:
    """What a site's sitemaps brought.

    Args:
        urls: Addresses of pages, as written; they may be anything.
        failures: Of files that could not be had or read. One that is not there is none.
    """

    urls: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Sitemaps:
    """Reads sitemaps over the fetcher."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def pages(
        self, site: str, home_url: str, listed: Sequence[str], may_ask: MayAsk
    ) -> SitemapPages:
        """The pages that a site's sitemaps name.

        Args:
            site: The domain that sitemaps must lie on or below.
            home_url: Where the home page is.
            listed: What robots.txt names; empty for the usual place.
            may_ask: As for `Fetcher.fetch`.

        Raises:
            CallError: the fault is ours (disk, lease, a bug).
        """
        found = SitemapPages()
        own = [url for url in listed if is_within(host_of(url), site)]
        parts = urlsplit(home_url)
        waiting = deque(own or [f"{parts.scheme}://{parts.netloc}/sitemap.xml"])
        seen: set[str] = set()
        while waiting and len(seen) < MOST_FILES and len(found.urls) < MOST_URLS:
            url = waiting.popleft()
            if url in seen:
                continue
            seen.add(url)
            try:
                body = _unpacked(await self._fetcher.fetch(url, may_ask=may_ask, cut_at=MOST_BYTES))
            except CallError as error:
                if error.failure.kind in _OURS:
                    raise
                found.failures.append(error.failure)
                continue
            entries = read_sitemap(body)
            found.urls += [one.url for one in entries if not one.is_sitemap]
            further = [one.url for one in entries if one.is_sitemap]
            waiting.extend(sorted((u for u in further if is_within(host_of(u), site)), key=_rank))
        return found


def _rank(url: str) -> int:
    """Lists of pages first, lists of posts and products last; otherwise as they come."""
    path = urlsplit(url).path.lower()
    if any(word in path for word in _ABOUT_OTHERS):
        return 2
    return 0 if any(word in path for word in _ABOUT_PAGES) else 1


def _unpacked(response: Response) -> bytes:
    """The beginning of a sitemap; empty when it is not there.

    Raises:
        CallError: MALFORMED; a file that is packed by itself is broken.
    """
    if response.status >= HTTPStatus.BAD_REQUEST:
        return b""
    body = response.body(MOST_BYTES, is_cut=True)
    if not body.startswith(_GZIP_MAGIC):
        return body
    parts: list[bytes] = []
    size = 0
    try:
        for part in Inflater("gzip").feed(body):
            parts.append(part)
            size += len(part)
            if size >= MOST_BYTES:
                break
    except BrokenEncodingError as error:
        raise CallError(Failure(FailureKind.MALFORMED, str(error), response.url)) from error
    return b"".join(parts)[:MOST_BYTES]
