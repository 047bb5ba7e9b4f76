"""What a page itself says to robots: the `X-Robots-Tag` header and `<meta name="robots">`.

Unlike robots.txt they are read after the page was fetched: `noindex` means that what is on it is
not to be shown anywhere, `nofollow` that its links are not to be followed.

Source: Google's and Bing's documentation of robots meta tags; there is no RFC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resources.core.robots_rules import AGENT

_MOST_CHARS = 2_000
_WITH_VALUE = frozenset(
    ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
)


@dataclass(frozen=True, slots=True)
class Directives:
    """What may be done with a page.

    Args:
        is_indexed: What is on it may be kept and shown.
        is_followed: Its links may be followed.
    """

    is_indexed: bool = True
    is_followed: bool = True


def directives_of(headers: Iterable[str], meta: str | None = None) -> Directives:
    """Read what a page says; what is not understood forbids nothing.

    Args:
        headers: Each `X-Robots-Tag` by itself. One may begin with the name of a robot, and is then
            about that one alone.
        meta: The content of the page's `robots` meta tag.

    >>> directives_of(["otherbot: noindex", "nofollow"])
    Directives(is_indexed=True, is_followed=False)
    """
    said = {word for header in headers for word in _words(header)}
    said.update(_words(meta or ""))
    return Directives(
        is_indexed=said.isdisjoint(("noindex", "none")),
        is_followed=said.isdisjoint(("nofollow", "none")),
    )


def _words(text: str) -> Iterator[str]:
    """The words of one header that are meant for us."""
    is_for_us = True
    for part in text[:_MOST_CHARS].lower().replace(";", ",").split(","):
        name, colon, rest = part.partition(":")
        word = part.strip()
        if colon and name.strip() not in _WITH_VALUE:
            is_for_us = name.strip() in (AGENT, "robots", "*", "")
            word = rest.strip()
        if is_for_us:
            yield word
