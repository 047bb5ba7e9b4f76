"""Which pages of a site tell about the company.

Chosen from links and sitemap addresses alone, by the words in anchor text and path. Nothing is
fetched here, and robots.txt is obeyed elsewhere.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Final
from urllib.parse import SplitResult, unquote

from resources.core.names import fold

from .models import ScrapedPage
from .page_words import KINDS, PHRASE_KINDS, SKIPPED_ENDINGS, SKIPPED_WORDS, WELL_KNOWN_PATHS
from .web_address import MAX_URL_CHARS, is_within, split_url

GUESSED: Final = "well-known path"
"""The reason of a page that nothing led to, so that it may not be there."""
_MAX_CANDIDATES: Final = 5_000
_MAX_SEGMENTS: Final = 6
_MOST_GUESSES: Final = 2
_TELLING: Final = ("about", "contact", "legal")
_MAX_PHRASE_WORDS: Final = 5
"""Longer texts and paths are headlines, in which a word such as "about" says nothing."""
_MAX_TEXT_CHARS: Final = 60
_SESSION: Final = re.compile(
    r"(?:^|[?&;/])(?:phpsessid|jsessionid|sid|session_?id|aspsessionid\w{0,20}|cfid|cftoken|oscsid|"
    r"add-to-cart|replytocom|share)(?:=|$)",
    re.I,
)
_TRACKING: Final = re.compile(r"(?:utm_\w{1,30}|gclid|fbclid|msclkid|mc_[ce]id)(?:=|$)", re.I)
_CALENDAR: Final = re.compile(
    r"/(?:19|20)\d\d[/-]\d{1,2}(?:/|-|$)|[?&](?:date|month|year|day|tribe-bar-date)=", re.I
)
_LANGUAGE_SEGMENT: Final = re.compile(r"[a-z]{2}(?:[-_][a-z]{2})?", re.I)
_INDEX_NAMES: Final = frozenset(("index", "default", "home"))
_POSTS: Final = frozenset(("blog", "blogs", "post", "posts", "article", "articles"))
_ENDING: Final = re.compile(r"\.(?:html?|php\d?|aspx?|jsp|cfm|shtml|xhtml)\Z", re.I)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD_BREAK: Final = re.compile(r"[-_+.,/&|]+")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class PageChoice:
    """A page worth fetching: its kind, its score (higher is better) and why."""

    url: str
    kind: str
    score: int
    reason: str


def choose_pages(
    home: ScrapedPage, site: str, *, limit: int, sitemap_urls: Sequence[str] = ()
) -> tuple[PageChoice, ...]:
    """Choose at most `limit` pages: the best of each kind first, then the second best, ...

    Args:
        home: the front page; its links are the main source.
        site: the registrable domain; pages of other hosts are left out.
        limit: how many pages at most; 0 or less gives none.
        sitemap_urls: further addresses, which have no anchor text.

    Returns:
        Choices, best first. The same input gives the same order; one page under several
        spellings (http and https, www, final slash) is there once, as it was first written.
    """
    best: dict[str, PageChoice] = {}
    own = {_identity(url) for url in (home.url, home.canonical) if url}
    links = ((link.url, link.text) for link in home.links)
    listed = ((url, "") for url in sitemap_urls)
    for number, (url, text) in enumerate(chain(links, listed)):
        if number >= _MAX_CANDIDATES:
            break
        choice = _judge(url, text, site)
        if choice is None or (key := _identity(url)) in own:
            continue
        known = best.get(key)
        if known is None:
            best[key] = choice
        elif choice.score > known.score:
            best[key] = PageChoice(known.url, choice.kind, choice.score, choice.reason)
    return _in_rounds(best.values(), max(0, limit))


def fill_up(
    chosen: Sequence[PageChoice], urls: Iterable[str], site: str, home: Sequence[str], *, limit: int
) -> tuple[PageChoice, ...]:
    """Add pages of a sitemap to those that links led to: kinds that are missing first.

    Args:
        chosen: What links led to; all of it stays, in its order.
        urls: The sitemap's addresses.
        site: As for `choose_pages`.
        home: Addresses of the home page, which is not chosen.
        limit: Pages altogether.
    """
    known = {_identity(choice.url) for choice in chosen} | {_identity(url) for url in home}
    found: dict[str, PageChoice] = {}
    for url in islice(urls, _MAX_CANDIDATES):
        choice = _judge(url, "", site)
        if choice is not None and (key := _identity(url)) not in known:
            found.setdefault(key, choice)
    kinds = {choice.kind for choice in chosen}
    ranked = _in_rounds(found.values(), limit)
    new = [choice for choice in ranked if choice.kind not in kinds]
    more = [choice for choice in ranked if choice.kind in kinds]
    return tuple([*chosen, *new, *more][: max(limit, len(chosen))])


def guesses(
    chosen: Sequence[PageChoice], origin: str, language: str | None, *, limit: int
) -> tuple[PageChoice, ...]:
    """Pages that many sites have, where nothing led to one that tells who they are.

    Args:
        chosen: What is chosen already.
        origin: Scheme and host, without a final slash.
        language: The home page's, as a code of two letters.
        limit: Pages altogether, those chosen included.
    """
    kinds = {choice.kind for choice in chosen}
    if not kinds.isdisjoint(_TELLING):
        return ()
    room = max(0, min(_MOST_GUESSES, limit - len(chosen)))
    paths = WELL_KNOWN_PATHS.get((language or "en")[:2].lower(), WELL_KNOWN_PATHS["en"])
    return tuple(PageChoice(origin + path, kind, 1, GUESSED) for kind, path in paths[:room])


def _in_rounds(choices: Iterable[PageChoice], limit: int) -> tuple[PageChoice, ...]:
    by_kind: dict[str, list[PageChoice]] = {}
    for choice in sorted(choices, key=lambda each: (-each.score, len(each.url), each.url)):
        by_kind.setdefault(choice.kind, []).append(choice)
    rounds = [
        (rank, -choice.score, KINDS.index(kind), choice)
        for kind, ranked in by_kind.items()
        for rank, choice in enumerate(ranked[:limit])
    ]
    rounds.sort(
        key=lambda each: (each[0], each[2] if each[0] == 0 else 0, each[1], each[2], each[3].url)
    )
    return tuple(choice for *_, choice in rounds[:limit])


def page_kind(url: str, text: str = "") -> str | None:
    """Name the kind of a page by its address and the text of a link to it; None if it is none.

    >>> page_kind("https://acme.example/ueber-uns/"), page_kind("https://acme.example", "AGB")
    ('about', 'legal')
    """
    parts = split_url(url)
    found = _kind_of(parts, text) if parts else None
    return found[0] if found else None


def _judge(url: str, text: str, site: str) -> PageChoice | None:
    parts = split_url(url) if len(url) <= MAX_URL_CHARS else None
    if parts is None or parts.scheme not in ("http", "https"):
        return None
    host = (parts.hostname or "").rstrip(".")
    if not is_within(host, site) or _is_skipped(parts):
        return None
    found = _kind_of(parts, text)
    if found is None:
        return None
    kind, score, reason = found
    depth = len([each for each in parts.path.split("/") if each])
    score -= 4 * max(0, depth - 1) + (6 if parts.query else 0)
    score -= 10 if host.removeprefix("www.") != site.lower().removeprefix("www.") else 0
    return PageChoice(url, kind, max(score, 1), reason)


def _is_skipped(parts: SplitResult) -> bool:
    path = parts.path.lower()
    segments = [each for each in path.split("/") if each]
    if len(segments) > _MAX_SEGMENTS or len(set(segments)) < len(segments) - 1:
        return True
    if path.endswith(SKIPPED_ENDINGS) or any(each in SKIPPED_WORDS for each in segments):
        return True
    if not _POSTS.isdisjoint(segments[:-1]):
        return True
    rest = f"{path}?{parts.query}"
    if parts.query.count("&") > 3 or len(parts.query) > 120:
        return True
    return _SESSION.search(rest) is not None or _CALENDAR.search(rest) is not None or ";" in path


def _kind_of(parts: SplitResult, text: str) -> tuple[str, int, str] | None:
    """Judge anchor text and path; both together weigh most, the last segment most of the path."""
    by_text = _phrase_kind(text) if 0 < len(text) <= _MAX_TEXT_CHARS else None
    segments = [each for each in unquote(parts.path)[:300].split("/") if each]
    names = [_ENDING.sub("", each) for each in segments if not _LANGUAGE_SEGMENT.fullmatch(each)]
    words = [each for each in names if each.lower() not in _INDEX_NAMES]
    by_path = _phrase_kind(_CAMEL.sub(" ", words[-1])) if words else None
    parent = _phrase_kind(words[-2]) if len(words) > 1 and not by_path else None
    if by_text and by_path and by_text[0] == by_path[0]:
        return by_text[0], 60 + by_text[1] + by_path[1], f"text {text!r} and path {words[-1]!r}"
    # A path is chosen by the owner of the site and seldom misleads; whole phrases beat parts.
    if by_path and (by_text is None or by_path[1] >= by_text[1]):
        return by_path[0], 40 + by_path[1], f"path {words[-1]!r}"
    if by_text:
        return by_text[0], 40 + by_text[1], f"text {text!r}"
    if parent and parent[1] >= 20:
        return parent[0], 15, f"below {words[-2]!r}"
    return None


@lru_cache(maxsize=8_192)
def _phrase_kind(text: str) -> tuple[str, int] | None:
    """Return (kind, weight): 20 when the whole text is a known phrase, less for a part of it."""
    folded = fold(_WORD_BREAK.sub(" ", text))
    if not folded:
        return None
    if (whole := PHRASE_KINDS.get(folded)) is not None:
        return whole, 20
    if _CJK.search(folded):
        phrases = sorted(
            (each for each in PHRASE_KINDS if len(each) > 1 and each in folded), key=len
        )
        return (PHRASE_KINDS[phrases[-1]], 12) if phrases and len(folded) <= 20 else None
    words = folded.split()[:_MAX_PHRASE_WORDS]
    if len(folded.split()) > _MAX_PHRASE_WORDS:
        return None
    for length in range(len(words) - 1, 0, -1):
        for start in range(len(words) - length + 1):
            phrase = " ".join(words[start : start + length])
            kind = PHRASE_KINDS.get(phrase)
            if kind and len(phrase) > 3:
                return kind, 4 * length + (4 if start == 0 else 0)
    return None


def _identity(url: str) -> str:
    """Return what is the same for all spellings of one page."""
    parts = split_url(url)
    if parts is None:
        return url
    host = (parts.hostname or "").removeprefix("www.")
    path = unquote(parts.path).rstrip("/")
    query = [each for each in parts.query.split("&") if not _TRACKING.match(each)]
    return f"{host}{path.casefold()}?{'&'.join(query)}"
