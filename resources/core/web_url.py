"""Which URLs are fetched at all. Pure, and by the text alone: before anything has parsed it.

Programs read an odd URL differently: what one takes for the host another takes for a user name, and
some drop control characters that others keep. Where the robots.txt of one host is asked and another
one is connected to, no check of either helps. So what can be read in two ways is refused.

Whether an address may be connected to is not here (`addresses`): names lead anywhere.

Source: RFC 3986, section 3.2; WHATWG URL, "host parsing" and "ends in a number".
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from resources.core.errors import FailureKind

MAX_URL_CHARS = 4_000
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_PARTS = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\[\]:@%]+)(?::([0-9]{0,5}))?", re.IGNORECASE)
# Letters beyond ASCII are left to the encoding of international names, which checks them.
_NAME = re.compile(r"[a-z0-9._\u0080-\U0010ffff-]{1,253}", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL is not fetched."""

    kind: FailureKind
    message: str


def url_refusal(url: str, ports: Collection[int]) -> Refusal | None:
    """Why this absolute URL must not be fetched, or None when it may be.

    Args:
        url: As it was written; nothing has been stripped or joined.
        ports: Ports that may be asked.

    >>> url_refusal("https://acme.example/a?b=c", (80, 443)) is None
    True
    >>> url_refusal("https://acme.example@evil.example/", (80, 443)).message
    'the address holds user info before its host'
    """
    if len(url) > MAX_URL_CHARS:
        return _malformed(f"the address is longer than {MAX_URL_CHARS} characters")
    if reason := unreadable(url):
        return _malformed(reason)
    parts = _PARTS.match(url)
    if parts is None:
        return _malformed("this is no web address")
    return _authority_refusal(parts.group(1), parts.group(2), ports)


def _authority_refusal(scheme: str, authority: str, ports: Collection[int]) -> Refusal | None:
    if "@" in authority:
        return _malformed("the address holds user info before its host")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not _is_host(found.group(1)):
        return _malformed("this is no web address: its host or port cannot be read")
    port = int(found.group(2) or _DEFAULT_PORTS[scheme.lower()])
    if not 0 < port < 65536:
        return _malformed(f"{port} is no port")
    if port not in ports:
        return Refusal(FailureKind.BLOCKED_ADDRESS, f"port {port} is not one of the allowed ports")
    return None


def unreadable(text: str) -> str | None:
    """What in a URL or a part of one is read differently by different programs; None if nothing.

    Ask about the target of a redirect before it is joined: joining drops what is looked for here.
    """
    found = _UNREADABLE.search(text)
    if found is None:
        return "the address begins with three slashes" if text.startswith("///") else None
    what = "a backslash" if found.group() == "\\" else "a control character"
    return f"the address holds {what}"


def _is_host(host: str) -> bool:
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    if _NAME.fullmatch(host) is None:
        return False
    if not host.isascii():  # digits and dots in other dress are digits and dots once encoded
        host = unicodedata.normalize("NFKC", host).replace("\u3002", ".")
    labels = host.split(".")
    if labels[-1] == "":
        labels.pop()
    if not all(0 < len(label) < 64 for label in labels):
        return False
    # 0177.1 and 2130706433 are 127.0.0.1 to some and a name to others; the dotted form is to all.
    return not _NUMBER.fullmatch(labels[-1]) or _is_dotted_ipv4(host)


def _is_dotted_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _malformed(message: str) -> Refusal:
    return Refusal(FailureKind.MALFORMED, message)
