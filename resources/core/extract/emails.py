"""E-mail addresses: in text, in links, behind simple disguises.

Anchored on `@` and on disguised `at`, so the text is never searched with an open
pattern. JavaScript that builds an address is not run.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

from .models import MAX_CONTACTS

_LOCAL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}\Z")
_DOMAIN: Final = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_TLD: Final = re.compile(r"[a-z]{2,24}|xn--[a-z0-9-]{2,40}")
_AT: Final = re.compile(r"[\[({<]\s{0,2}(?:at|ät|arroba|@|a t|affengriff)\s{0,2}[\])}>]", re.I)
_BARE_AT: Final = re.compile(r"\s(?:at|_at_|-at-)\s", re.I)
_DOT: Final = re.compile(
    r"\s{0,3}[\[({<]\s{0,2}(?:dot|punkt|point|punto|ponto|\.)\s{0,2}[\])}>]\s{0,3}|"
    r"\s{1,3}(?:dot|_dot_|-dot-|punkt)\s{1,3}",
    re.I,
)
_DOT_WORDS: Final = frozenset(("dot", "punkt", "_dot_", "-dot-"))
_GLUED: Final = re.compile(r"(?<=[a-z])[A-Z][a-z]")
_FILE_ENDINGS: Final = frozenset(
    """
    png jpg jpeg gif svg webp avif bmp ico css js mjs json xml html htm php pdf mp4 webm woff
    woff2 ttf map min scss
    """.split()
)
_PLACEHOLDERS: Final = frozenset(
    """
    example.com example.org example.net domain.com yourdomain.com email.com sentry.io mysite.com
    yoursite.com yourcompany.com sentry.wixpress.com mail.invalid
    """.split()
)
_SPACED_AT: Final = re.compile(r"(?<=[\w])[ \t]{1,2}@[ \t]{1,2}(?=[\w-]{1,63}\.)")


def find_emails(text: str, mailto: Iterable[str], protected: Iterable[str]) -> tuple[str, ...]:
    """Return addresses in lower case, links first, each once.

    Args:
        text: visible text.
        mailto: what follows `mailto:` in links, still percent-encoded.
        protected: Cloudflare's hexadecimal `data-cfemail` codes.
    """
    found: dict[str, None] = {}
    for link in mailto:
        for part in re.split(r"[,;]", unquote(link.partition("?")[0]))[:10]:
            found.update(dict.fromkeys(_in_text(part)))
    for code in protected:
        if address := decode_cfemail(code):
            found.update(dict.fromkeys(_in_text(address)))
    found.update(dict.fromkeys(_in_text(text)))
    found.update(dict.fromkeys(_disguised(text)))
    return tuple(found)[:MAX_CONTACTS]


def decode_cfemail(code: str) -> str | None:
    """Decode Cloudflare's e-mail protection: the first byte is the key to the others.

    >>> decode_cfemail("422b2c242d022321272f276c273a232f322e27")
    'info@aceme.example'
    """
    try:
        raw = bytes.fromhex(code)
    except ValueError:
        return None
    return bytes(each ^ raw[0] for each in raw[1:]).decode("utf-8", "replace") if raw else None


def clean_email(text: str) -> str | None:
    """Return the one address in a short text, or None."""
    return next(_in_text(text[:400].removeprefix("mailto:")), None)


def _in_text(text: str) -> Iterator[str]:
    text = _SPACED_AT.sub("@", text.replace("＠", "@")) if "@" in text or "＠" in text else text
    position = text.find("@")
    count = 0
    while position >= 0 and count < 2_000:
        count += 1
        local = _LOCAL.search(text[max(0, position - 64) : position])
        domain = _DOMAIN.match(text, position + 1)
        if local and domain and (address := _checked(local.group(), domain.group())):
            yield address
        position = text.find("@", position + 1)


def _checked(local: str, domain: str) -> str | None:
    # "info@acme.comThis address is ..." lost a space.
    labels = domain.split(".")
    if glued := _GLUED.search(labels[-1]):
        labels[-1] = labels[-1][: glued.start()]
    domain = ".".join(labels).lower().rstrip("-_.")
    # "mailto:x@y", "E-Mail=x@y" and "/x@y" run into the address in sloppy text.
    local = re.split(r"[/=?&|'`{}*^]", local.lower())[-1].strip(".-!#$%")
    tld = domain.rpartition(".")[2]
    if not local or not _TLD.fullmatch(tld) or tld in _FILE_ENDINGS or "_" in domain:
        return None
    if domain in _PLACEHOLDERS or ".." in local or (len(local) == 32 and local.isalnum()):
        return None
    return f"{local}@{domain}"


def _disguised(text: str) -> Iterator[str]:
    """Undo `info [at] acme [dot] com`; a bare "at" counts only with a disguised dot."""
    lowered = text.lower()
    patterns = [_AT]
    if " dot " in lowered or " punkt " in lowered or "_dot_" in lowered or "-dot-" in lowered:
        patterns.append(_BARE_AT)
    for pattern in patterns:
        for count, found in enumerate(pattern.finditer(text)):
            if count > 500:
                break
            local = _LOCAL.search(text[max(0, found.start() - 70) : found.start()].rstrip())
            after = text[found.end() : found.end() + 120].lstrip(" \t").partition("\n")[0]
            undone = _DOT.sub(".", after)
            words = after.split()
            if pattern is _BARE_AT and not (len(words) > 2 and words[1].lower() in _DOT_WORDS):
                continue
            domain = _DOMAIN.match(undone)
            if local and domain and (address := _checked(local.group(), domain.group())):
                yield address
