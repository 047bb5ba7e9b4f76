"""Turn what people write in lists into one registrable domain, or say why it is none.

A domain is the key of everything: of the ledger's rows, of what is fetched and of what is paid
for. Two spellings of one company that become two keys are bought twice, so this is the one place
where text becomes a domain (ADR 0003). No I/O here: the Public Suffix List is passed in, and
`resources/adapters/suffix_list.py` reads it. Whether a domain exists is not asked here either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

import idna

MAX_RAW_CHARS = 2_048
MAX_LABEL_CHARS = 63
MAX_HOST_CHARS = 253

# Names that no public DNS answers (RFC 2606, 6761, 6762, 7686, 8375, 9476, ICANN's .internal).
# `.example` is left out on purpose: examples and the sandbox live there.
RESERVED_TLDS = frozenset(
    {"test", "invalid", "localhost", "local", "internal", "onion", "arpa", "alt"}
)

# Whitespace, quotes and brackets around a value, and what a copied enumeration leaves at its end.
# Written out because str.strip() would also take the control characters U+001C to U+001F.
_EDGE = (
    " \t\r\n\f\v\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u200e\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
    "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a<>(),;"
)
_PLAIN_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ANGLE_ADDRESS = re.compile(r"[^<>]*<([^<>]+)>")
_WEB_SCHEME = re.compile(r"(?:https?|wss?|ftp):[/\\]*", re.IGNORECASE)
_ANY_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.\-]*:)?[/\\]{2}", re.IGNORECASE)
_PATH_START = re.compile(r"[/\\?#]")
_PORT = re.compile(r":[0-9]*\Z")
_NOT_IN_HOSTS = re.compile(r"[^a-z0-9_.\-\u0080-\U0010ffff]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class RejectionReason(StrEnum):
    """Why a value is no domain; the values are printed by `pipeline normalize`."""

    EMPTY = "empty"
    NOT_A_DOMAIN = "not_a_domain"
    IP_ADDRESS = "ip_address"
    PUBLIC_SUFFIX = "public_suffix"
    RESERVED = "reserved"
    BAD_LABEL = "bad_label"
    BAD_IDN = "bad_idn"
    SINGLE_LABEL = "single_label"
    TOO_LONG = "too_long"
    CONTROL_CHARACTERS = "control_characters"


@dataclass(frozen=True, slots=True)
class NormalizedDomain:
    """A registrable domain, lower-case punycode."""

    domain: str


@dataclass(frozen=True, slots=True)
class RejectedValue:
    """A value that is no domain: the reason for machines, the detail for people."""

    reason: RejectionReason
    detail: str


class SuffixSection(StrEnum):
    """Who stands behind a suffix: a registry (ICANN) or a company that lends names (private)."""

    ICANN = "icann"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class SuffixRules:
    """The Public Suffix List, names in lower-case punycode, without `*.` and `!`."""

    exact: dict[str, SuffixSection]
    wildcard: dict[str, SuffixSection]
    exception: dict[str, SuffixSection]

    def suffix_of(self, host: str) -> tuple[str, SuffixSection]:
        """Return the public suffix of a lower-case punycode host, and its section.

        An exception rule prevails over all others, then the rule with the most labels; a host
        that no rule knows has its last label as suffix (the default rule `*`, section ICANN).

        Source: https://github.com/publicsuffix/list/wiki/Format#algorithm
        """
        for name, parent in _ancestry(host):
            if name in self.exception:
                return parent, self.exception[name]
        last = host
        for name, parent in _ancestry(host):
            if (section := self.exact.get(name)) or (section := self.wildcard.get(parent)):
                return name, section
            last = name
        return last, SuffixSection.ICANN


def normalize(text: str, suffixes: SuffixRules) -> NormalizedDomain | RejectedValue:
    """Reduce a domain, URL or e-mail address to its registrable domain.

    Never raises, whatever the text, and gives a domain it returned back unchanged. A name that is
    a private suffix itself (`github.io`) is taken as it stands: a company owns and runs it.

    Args:
        text: One value as found in a list; more than `MAX_RAW_CHARS` are rejected unread.
        suffixes: The Public Suffix List.

    Returns:
        The domain, or the reason why there is none.

    Source: ADR 0003; UTS 46; https://url.spec.whatwg.org/#host-parsing
    """
    try:
        host = _host_in(text)
        return NormalizedDomain(_registrable(host, suffixes))
    except _RejectedError as rejected:
        return RejectedValue(rejected.reason, rejected.detail)


class _RejectedError(Exception):
    """Carries a rejection out of the steps below; never leaves this module."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _host_in(text: str) -> str:
    """Return the host name of a value in lower-case punycode, its labels checked."""
    if len(text) > MAX_RAW_CHARS:
        raise _RejectedError(RejectionReason.TOO_LONG, f"longer than {MAX_RAW_CHARS:,} characters")
    value = text.strip(_EDGE)
    if not value:
        raise _RejectedError(RejectionReason.EMPTY, "nothing in it")
    _refuse_control_characters(value)
    lowered = value.lower()
    # Nearly every value of a list is a bare host; the rest of the way is ten times as slow.
    is_plain = _PLAIN_HOST.fullmatch(lowered) is not None
    host = lowered if is_plain else _mapped(_host_part(value))
    host = host.removesuffix(".")
    _refuse_numbers(host)
    host = ".".join(_checked_label(label) for label in host.split("."))
    if len(host) > MAX_HOST_CHARS:
        raise _RejectedError(
            RejectionReason.BAD_LABEL, f"the name has more than {MAX_HOST_CHARS} characters"
        )
    return host


def _refuse_control_characters(value: str) -> None:
    if found := _CONTROL.search(value):
        raise _RejectedError(
            RejectionReason.CONTROL_CHARACTERS, f"has the character U+{ord(found[0]):04X} in it"
        )


def _host_part(value: str) -> str:
    """Cut the host out of a URL or an e-mail address, where a browser would."""
    if address := _ANGLE_ADDRESS.fullmatch(f"{value}>"):  # the closing one is stripped by now
        value = address[1].strip(_EDGE)
    if value[:7].lower() == "mailto:":
        value = unquote(value[7:].partition("?")[0]).partition(",")[0]
    else:
        # A loop, because forms that add "http://" to what has it already are common.
        while scheme := _WEB_SCHEME.match(value) or _ANY_SCHEME.match(value):
            value = value[scheme.end() :]
    authority = _PATH_START.split(value, maxsplit=1)[0].rpartition("@")[2].strip(_EDGE)
    _refuse_ipv6(authority)
    host = unquote(_PORT.sub("", authority))
    _refuse_control_characters(host)
    return host


def _refuse_ipv6(authority: str) -> None:
    """Reject IPv6 addresses, bracketed as in URLs or bare, before colons are taken for a port."""
    if authority.count(":") < 2:
        return
    address = authority[1:].partition("]")[0] if authority.startswith("[") else authority
    try:
        ipaddress.IPv6Address(address.replace("%25", "%"))
    except ValueError:
        return
    raise _RejectedError(RejectionReason.IP_ADDRESS, "an IPv6 address")


def _mapped(host: str) -> str:
    """Lower-case a host and map its characters by UTS 46, full-width letters and dots included."""
    if len(host) > 4 * MAX_HOST_CHARS:  # idna takes no more; soft hyphens may vanish until then
        raise _RejectedError(
            RejectionReason.BAD_LABEL, f"the name has more than {MAX_HOST_CHARS} characters"
        )
    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
    except ValueError as error:
        raise _RejectedError(RejectionReason.BAD_IDN, _one_line(error)) from error
    # Looked at after the mapping: "\u2100" becomes "a/c" and must not begin a path unseen.
    if found := _NOT_IN_HOSTS.search(mapped):
        raise _RejectedError(RejectionReason.NOT_A_DOMAIN, f"no host name has {found[0]!r} in it")
    if not mapped:
        raise _RejectedError(RejectionReason.NOT_A_DOMAIN, "names no host")
    return mapped


def _refuse_numbers(host: str) -> None:
    """Reject what browsers read as an IPv4 address: decimal, octal, hexadecimal, short forms."""
    parts = host.split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return
    if len(parts) <= 4 and _are_ipv4(parts):
        raise _RejectedError(RejectionReason.IP_ADDRESS, "an IPv4 address")
    raise _RejectedError(RejectionReason.NOT_A_DOMAIN, "ends in a number and is no IPv4 address")


def _are_ipv4(parts: list[str]) -> bool:
    """Tell whether one to four parts are an address; the last one fills all bytes left."""
    try:
        *front, last = [_number(part) for part in parts]
    except ValueError:
        return False
    return all(number < 256 for number in front) and last < 256 ** (4 - len(front))


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part):  # int() would also take "-1" and "1_0"
        raise ValueError(part)
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if len(part) > 1 and part[0] == "0" else 10)


def _checked_label(label: str) -> str:
    """Return a label in punycode, or reject it."""
    if not label:
        raise _RejectedError(RejectionReason.BAD_LABEL, "two dots in a row, or one at the start")
    is_encoded = label.startswith("xn--")
    if not is_encoded and (label[0] == "-" or label[-1] == "-"):
        raise _RejectedError(RejectionReason.BAD_LABEL, "a label has a hyphen at an end")
    # Measured before idna looks: it would call a label that is only too long a bad IDN.
    size = len(label) if label.isascii() else len(label.encode("punycode", "replace")) + 4
    if size > MAX_LABEL_CHARS:
        raise _RejectedError(
            RejectionReason.BAD_LABEL, f"a label has more than {MAX_LABEL_CHARS} characters"
        )
    if label.isascii() and not is_encoded:
        return label
    try:
        return idna.alabel(label).decode("ascii")
    except ValueError as error:
        raise _RejectedError(RejectionReason.BAD_IDN, _one_line(error)) from error


def _registrable(host: str, suffixes: SuffixRules) -> str:
    """Return the registrable domain of a checked host."""
    tld = host.rpartition(".")[2]
    if tld in RESERVED_TLDS:
        raise _RejectedError(RejectionReason.RESERVED, f".{tld} is reserved, nobody can own a name")
    suffix, section = suffixes.suffix_of(host)
    own = host[: -len(suffix) - 1].rpartition(".")[2]
    is_private = section is SuffixSection.PRIVATE
    if host == suffix and not is_private:
        if "." not in host and host not in suffixes.exact and host not in suffixes.wildcard:
            raise _RejectedError(RejectionReason.SINGLE_LABEL, "a single word without a dot")
        raise _RejectedError(RejectionReason.PUBLIC_SUFFIX, f"anybody can register under {host}")
    # www.github.io is GitHub's own, not a customer's: it must not be paid for beside github.io.
    is_suffix_itself = is_private and own in ("", "www")
    domain = suffix if is_suffix_itself else f"{own}.{suffix}"
    if "_" in domain:  # further to the left it is harmless: DNS knows it, registries do not
        raise _RejectedError(RejectionReason.BAD_LABEL, f"no registry gives out {domain!r}")
    return domain


def _ancestry(host: str) -> Iterator[tuple[str, str]]:
    """Yield (name, parent) for a host and each of its parents; the last parent is empty."""
    name = host
    while name:
        parent = name.partition(".")[2]
        yield name, parent
        name = parent


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
