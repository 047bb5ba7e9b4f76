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
_ENDINGS: Final = tuple(_NETWORKS)
_NAME: Final = re.compile(r"[\w.%@&+'-]{1,100}")
_NOT_PROFILES: Final = frozenset(
    """
    share sharer sharer.php share.php sharearticle intent home login signup search hashtag i
    explore plugins dialog tr p reel reels stories watch embed results playlist about privacy
    policies terms legal help settings features pricing marketplace groups events pages hashtags
    photo photo.php photos permalink.php story.php tag accounts developer developers business
    ads cookie cookies topics sponsors orgs apps feed jobs shorts v live discover download spi
    profile.php widgets like.php badges status notifications messages sharing share-offsite
    tweet login.php media video videos web statuses
    """.split()
)
_MAX_PROFILES: Final = 40


def find_social(links: Iterable[Link], same_as: Iterable[str] = ()) -> tuple[str, ...]:
    """Return profile URLs, each once, in the order of the page; those of JSON-LD last."""
    found: dict[str, None] = {}
    for url in [*(link.url for link in links), *same_as]:
        if _is_of_network(url) and (profile := profile_url(url)) is not None:
            found[profile] = None
    return tuple(found)[:_MAX_PROFILES]


def _is_of_network(url: str) -> bool:
    """Sort out most links without parsing them."""
    host = url[:300].split("/", 3)[2:3]
    return bool(host) and host[0].lower().partition(":")[0].endswith(_ENDINGS)


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


_PATHS: Final = {
    "linkedin": ("https://www.linkedin.com", ("company", "school", "showcase", "in")),
    "xing": ("https://www.xing.com", ("companies", "company", "pages", "profile", "profiles")),
    "youtube": ("https://www.youtube.com", ("channel", "c", "user")),
    "tiktok": ("https://www.tiktok.com", ()),
    "facebook": ("https://www.facebook.com", ("pages", "people", "pg")),
    "instagram": ("https://www.instagram.com", ()),
    "github": ("https://github.com", ()),
    "x": ("https://x.com", ()),
}
"""Start of the normal form, and the first segments that stand before a name."""
_ONLY_AT: Final = frozenset(("youtube", "tiktok"))
_ONLY_BELOW: Final = frozenset(("linkedin", "xing"))


def _normal(network: str, names: list[str]) -> str | None:
    if not names or not _NAME.fullmatch(names[0]):
        return None
    start, kinds = _PATHS[network]
    kind = names[0].lower()
    if kind in kinds:
        # A page of Facebook has its number behind its name; the id of a channel has capitals.
        rest = names[1:3] if network == "facebook" and kind != "pg" else names[1:2]
        return _joined(start, kind, *(rest or [""]), keep_case=kind == "channel")
    is_other = kind in _NOT_PROFILES or kind.endswith((".php", ".html"))
    is_bare = network in _ONLY_AT and not kind.startswith("@")
    if is_other or is_bare or network in _ONLY_BELOW:
        return None
    return _joined(start, kind if network in _ONLY_AT else kind.lstrip("@"))


def _joined(start: str, *names: str, keep_case: bool = False) -> str | None:
    kept = [each for each in names if each]
    if not kept or not all(_NAME.fullmatch(each) for each in kept):
        return None
    if len(names) > 1 and not names[1]:
        return None
    path = "/".join(kept)
    return f"{start}/{path if keep_case else path.lower()}"
