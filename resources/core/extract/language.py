"""The language of a page: declared, else detected."""

import re
from typing import Final

from resiliparse.parse.lang import detect_fast

_TAG: Final = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8}){0,3}\Z", re.I)
_MIN_CHARS: Final = 80
_MAX_CHARS: Final = 5_000
_CUTOFF: Final = 1_200


def page_language(html_lang: str | None, meta: dict[str, str], text: str) -> str | None:
    """Return a BCP 47 tag in lower case, or None when nothing tells.

    `<html lang>` comes first, then meta data, then detection on text of at least 80 characters.

    >>> page_language("de_AT", {}, "")
    'de-at'
    """
    for declared in (html_lang, meta.get("content-language"), meta.get("og:locale")):
        tag = (declared or "").strip().split(",")[0].strip()
        if _TAG.match(tag):
            return tag.replace("_", "-").lower()
    sample = text[:_MAX_CHARS].strip()
    if len(sample) < _MIN_CHARS:
        return None
    found = detect_fast(sample, cutoff=_CUTOFF)
    name = found[0] if isinstance(found, tuple) else None
    return None if name in (None, "unknown") else str(name)
