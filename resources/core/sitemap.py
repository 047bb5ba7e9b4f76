"""Reads sitemaps: lists of pages, and lists of such lists. Pure, and linear in time on any text.

No XML parser is used: many sitemaps are no XML, and what a parser does beyond reading tags
(entities, external files, doctypes) is what nobody wants from a stranger. Only the addresses are
read. Fetching, and which pages are worth a visit, is not here.

Source: sitemaps.org protocol 0.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from resources.core.extract.charset import decode

MOST_URLS = 5_000
MOST_TAGS = 100_000
_MOST_DEPTH = 50
_MAX_URL_CHARS = 2_000
_MAX_TAG_CHARS = 4_000
_NAME = re.compile(r"/?\s*(?:[\w.-]{1,50}:)?([\w.-]{1,50})")
_HREF = re.compile(r"""\shref\s{0,9}=\s{0,9}(?:"([^"]{1,2000})"|'([^']{1,2000})')""", re.IGNORECASE)
_ENTITY = re.compile(r"&(#x[0-9a-f]{1,6}|#[0-9]{1,7}|[a-z]\w{0,40});", re.IGNORECASE)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LISTS = {"url": False, "sitemap": True}
"""Elements whose `loc` counts, and whether it is another sitemap."""


@dataclass(frozen=True, slots=True)
class SitemapEntry:
    """One page, or one further sitemap.

    Args:
        url: As written; it may be anything.
        is_sitemap: It is a sitemap in its turn.
        alternates: The same page in other languages.
    """

    url: str
    is_sitemap: bool = False
    alternates: tuple[str, ...] = ()


def read_sitemap(body: bytes, most: int = MOST_URLS) -> tuple[SitemapEntry, ...]:
    """Read a sitemap in XML or plain text, unpacked, whole or cut off.

    Args:
        body: What is neither gives an empty result, as an empty list does.
        most: Entries read at most.

    Returns: entries in their order; one whose address is missing or too long is left out.

    >>> read_sitemap(b"<urlset><url><loc> https://acme.example/ </loc></url></urlset>")
    (SitemapEntry(url='https://acme.example/', is_sitemap=False, alternates=()),)
    """
    text, _ = decode(body)
    if "<" not in text[:1_000]:
        return tuple(_plain_lines(text, most))
    reader = _Reader(most)
    for tag, words in _tokens(text):
        reader.take(tag, words)
        if len(reader.entries) >= most:
            break
    return tuple(reader.entries)


def _plain_lines(text: str, most: int) -> Iterator[SitemapEntry]:
    count = 0
    for line in text.splitlines()[: most * 2]:
        url = line.strip()
        if url.lower().startswith(("http://", "https://")) and len(url) <= _MAX_URL_CHARS:
            count += 1
            if count > most:
                return
            yield SitemapEntry(url)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Each tag without its brackets, with the text before it; comments and the like are left out.

    Every search begins where the last one ended, and ends all if it finds nothing.
    """
    place = 0
    before: list[str] = []
    for _ in range(MOST_TAGS):
        begin = text.find("<", place)
        if begin < 0:
            return
        before.append(text[place : min(begin, place + _MAX_TAG_CHARS)])
        closing, skip = _closing_of(text, begin)
        end = text.find(closing, begin + skip)
        if end < 0:
            return
        if closing == "]]>":
            before.append(text[begin + skip : min(end, begin + skip + _MAX_TAG_CHARS)])
        elif closing == ">":
            yield text[begin + 1 : min(end, begin + _MAX_TAG_CHARS)], "".join(before)
            before.clear()
        place = end + len(closing)


def _closing_of(text: str, begin: int) -> tuple[str, int]:
    """What ends the thing that begins here, and where to look for it."""
    if text.startswith("<!--", begin):
        return "-->", 4
    if text.startswith("<![CDATA[", begin):
        return "]]>", 9
    if text.startswith("<?", begin):
        return "?>", 2
    if text.startswith("<!", begin):
        bracket, angle = text.find("[", begin, begin + 500), text.find(">", begin, begin + 500)
        return "]>" if bracket >= 0 and (angle < 0 or bracket < angle) else ">", 2
    return ">", 1


class _Reader:
    """Collects entries from tags as they come."""

    def __init__(self, most: int) -> None:
        self.entries: list[SitemapEntry] = []
        self._most = most
        self._open: list[str] = []
        self._url = ""
        self._alternates: list[str] = []

    def take(self, tag: str, words: str) -> None:
        """Take a tag, and the text before it."""
        if tag.startswith("!"):
            return
        found = _NAME.match(tag)
        name = found.group(1).lower() if found else ""
        if tag.startswith("/"):
            self._close(name, words)
        elif name == "link" and self._is_within_list():
            href = _HREF.search(tag)
            if href is not None and len(self._alternates) < 50:
                self._alternates.append(_plain(href.group(1) or href.group(2)))
        elif not tag.endswith("/") and len(self._open) < _MOST_DEPTH:
            self._open.append(name)
            if name in _LISTS:
                self._url = ""
                self._alternates.clear()

    def _is_within_list(self) -> bool:
        return bool(self._open) and self._open[-1] in _LISTS

    def _close(self, name: str, words: str) -> None:
        if name not in self._open:
            return
        while self._open.pop() != name:
            pass
        if name == "loc" and self._is_within_list() and not self._url:
            self._url = _plain(words)
        elif name in _LISTS and self._url and len(self._url) <= _MAX_URL_CHARS:
            self.entries.append(
                SitemapEntry(self._url, _LISTS[name], tuple(dict.fromkeys(self._alternates)))
            )
            self._url = ""


def _plain(text: str) -> str:
    """Text without white space around it, entities read; unknown ones stand for nothing."""
    return _ENTITY.sub(_character, text).strip()


def _character(found: re.Match[str]) -> str:
    name = found.group(1).lower()
    if not name.startswith("#"):
        return _ENTITIES.get(name, "")
    number = int(name[2:], 16) if name.startswith("#x") else int(name[1:])
    is_character = 32 <= number < 0x110000 and not 0xD800 <= number < 0xE000
    return chr(number) if is_character else ""
