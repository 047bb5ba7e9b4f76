"""Social profiles: links that name a page of the company, in one normal form.

Share buttons, posts and log-in pages are not profiles.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, unquote

from .models import Link
from .web_address import split_url

_NETWORKS: Final = {
    "linkedin.com": "linkedin",
    "twitter.com": "x",
    "x.com": "x",
    "facebook.com": "facebook",
    "fb.com": "facebook",
    "instagram.com": "instagram",
    "youtube.com": "youtube",
    "github.com": "github",
    "xing.com": "xing",
    "tiktok.com": "tiktok",
}
_HINT: Final = re.compile(
    r"(?:linkedin|twitter|\bx|facebook|\bfb|instagram|youtube|github|xing|tiktok)\.com", re.I
)
_NAME: Final = re.compile(r"[\w.%@&+'-]{1,100}")
_NOT_PROFILES: Final = frozenset(
    """
    share sharer sharer.php share.php sharearticle intent home login signup search hashtag i explore
    plugins dialog tr p reel reels stories watch embed results playlist about privacy policies terms
    legal help settings features pricing marketplace groups events pages hashtags photo photo.php
    photos permalink.php story.php tag accounts developer developers business ads cookie cookies
    topics sponsors orgs apps feed jobs shorts v live discover download spi profile.php widgets
    like.php badges status notifications messages sharing share-offsite tweet login.php media video
    videos web statuses
    """.split()
)
_MAX_PROFILES: Final = 40


def find_social(links: Iterable[Link], same_as: Iterable[str] = ()) -> tuple[str, ...]:
    """Return profile URLs, each once, in the order of the page; those of JSON-LD last."""
    found: dict[str, None] = {}
    for url in [*(link.url for link in links), *same_as]:
        if _HINT.search(url) and (profile := profile_url(url)) is not None:
            found[profile] = None
    return tuple(found)[:_MAX_PROFILES]


def profile_url(url: str) -> str | None:
    """Return the normal form of a profile URL, or None when it is not one.

    >>> profile_url("http://de-de.facebook.com/Acme/?ref=ts")
    'https://www.facebook.com/acme'
    >>> profile_url("https://twitter.com/intent/tweet?url=x") is None
    True
    """
    parts = split_url(url)
    if parts is None or not parts.hostname:
        return None
    network = _NETWORKS.get(".".join(parts.hostname.lower().split(".")[-2:]))
    if network is None:
        return None
    path = parts.path or "/"
    if path == "/" and parts.fragment.startswith("!/"):
        path = parts.fragment[1:]
    names = [unquote(each)[:120] for each in path.split("/")[:8] if each]
    if network == "facebook" and names[:1] == ["profile.php"]:
        number = dict(parse_qsl(parts.query[:500])).get("id", "")
        return f"https://www.facebook.com/profile.php?id={number}" if number.isdigit() else None
    return _normal(network, names)


def _normal(network: str, names: list[str]) -> str | None:
    if not names or not _NAME.fullmatch(names[0]):
        return None
    first, second = names[0], names[1] if len(names) > 1 else ""
    kind = first.lower()
    match network:
        case "linkedin":
            kinds = ("company", "school", "showcase", "in")
            return _joined("https://www.linkedin.com", kind, second) if kind in kinds else None
        case "xing":
            if kind in ("companies", "company", "pages", "profile", "profiles"):
                return _joined("https://www.xing.com", kind, second)
            return None
        case "youtube":
            if kind in ("channel", "c", "user"):
                # The id of a channel is case-sensitive.
                return _joined("https://www.youtube.com", kind, second, keep_case=kind == "channel")
            return _joined("https://www.youtube.com", kind) if kind.startswith("@") else None
        case "tiktok":
            return _joined("https://www.tiktok.com", kind) if kind.startswith("@") else None
        case "facebook":
            if kind in ("pages", "people", "pg") and second:
                page = names[2] if len(names) > 2 and kind != "pg" else ""
                return _joined("https://www.facebook.com", kind, second, page)
    if kind in _NOT_PROFILES or kind.endswith((".php", ".html")):
        return None
    hosts = {"x": "x.com", "instagram": "www.instagram.com", "github": "github.com"}
    return _joined(f"https://{hosts.get(network, 'www.facebook.com')}", kind.lstrip("@"))


def _joined(start: str, *names: str, keep_case: bool = False) -> str | None:
    kept = [each for each in names if each]
    if not kept or not all(_NAME.fullmatch(each) for each in kept):
        return None
    if len(names) > 1 and not names[1]:
        return None
    path = "/".join(kept)
    return f"{start}/{path if keep_case else path.lower()}"
