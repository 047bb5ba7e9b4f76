"""URLs of a page: made absolute, cleaned, compared.

Not in here: which links matter (`page_choice`) and profiles (`social`).
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

MAX_URL_CHARS: Final = 2_000
_STRIP: Final = re.compile(r"[\x00-\x20\x7f]+")
_ABSOLUTE: Final = re.compile(r"https?://", re.I)
# What most links look like; a path may not begin with "//" nor hold a scheme.
_PLAIN_ABSOLUTE: Final = re.compile(
    r"https?://[A-Za-z0-9][A-Za-z0-9.-]{0,250}(?::\d{1,4})?(?:[/?][!-\"$-~]*)?"
)
_PLAIN_PATH: Final = re.compile(
    r"(?:/|(?=[A-Za-z0-9_]))(?:[A-Za-z0-9_%~+,-][A-Za-z0-9_%~+,./-]*)?(?:\?[!-\"$-~]*)?"
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}:", re.I)


def split_url(url: str) -> SplitResult | None:
    """Split a URL, or return None where Python's parser would raise (bad port, bad brackets)."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def host_of(url: str) -> str:
    """Return the host in lower case without a final dot; empty when there is none."""
    parts = split_url(url)
    return ((parts.hostname or "") if parts else "").rstrip(".")


def absolute(base: str, href: str | None) -> str | None:
    """Join a link to its base, without fragment; None unless the result is http(s).

    >>> absolute("https://acme.example/a/", "../contact#map")
    'https://acme.example/contact'
    """
    if not href or len(href) > MAX_URL_CHARS:
        return None
    href = href.partition("#")[0]
    if _PLAIN_ABSOLUTE.fullmatch(href):
        return href
    origin, folder = _base_parts(base)
    if origin and _PLAIN_PATH.fullmatch(href) and "/." not in href:
        return (origin if href[0] == "/" else folder) + href
    return _joined(base, href)


@lru_cache(maxsize=256)
def _base_parts(base: str) -> tuple[str, str]:
    """Return scheme and host of a base, and its folder with them; empty when it has none."""
    parts = split_url(base)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "", ""
    origin = f"{parts.scheme}://{parts.netloc}"
    folder = parts.path.rpartition("/")[0]
    return origin, origin + ("" if "/." in folder else folder) + "/"


def _joined(base: str, href: str) -> str | None:
    """Join by the standard library, which is right on everything and slow."""
    href = _STRIP.sub("", href) if " " not in href.strip() else href.strip().replace(" ", "%20")
    if _SCHEME.match(href) and not _ABSOLUTE.match(href):
        return None
    try:
        joined = href if _ABSOLUTE.match(href) else urljoin(base, href)
    except ValueError:
        return None
    parts = split_url(joined)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return joined


def is_within(host: str, site: str) -> bool:
    """Tell whether a host is the site or one of its subdomains (`www.` of the site ignored)."""
    site = site.lower().rstrip(".").removeprefix("www.")
    return bool(site) and (host == site or host.endswith("." + site))


def main_label(host: str) -> str:
    """Return the label of a host that names its owner, as well as the host alone can tell.

    >>> main_label("www.acme-tools.co.uk")
    'acme-tools'
    """
    labels = [each for each in host.lower().split(".") if each and each != "www"]
    if len(labels) < 2:
        return labels[0] if labels else ""
    labels.pop()
    if len(labels) > 1 and labels[-1] in _SECOND_LEVEL:
        labels.pop()
    return labels[-1]


_SECOND_LEVEL: Final = frozenset(
    """
    ac co com edu gob gov gouv ltd me ne net nom or org plc
    """.split()
)
