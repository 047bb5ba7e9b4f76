"""Where alerts may be sent: public addresses, and those that the operator has named himself. Pure.

A name in an alert's URL is resolved by somebody else's servers, and may lead inside tomorrow; an
address that stands in the URL leads where whoever wrote it wanted. So a literal address on our own
network is open for the channel that names it, and names lead inside only through the setting.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from resources.core.addresses import AddressPolicy

_LITERAL = re.compile(
    r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|localhost)(?![\w.])|\[[0-9a-fA-F:.]+\]"
)
_OWN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 ::1/128 fc00::/7"
    ).split()
)
"""Loopback and private networks. Never link-local ones, where clouds keep their credentials."""
_LOCALHOST = ("127.0.0.1", "::1")


def named_addresses(url: str) -> tuple[str, ...]:
    """Addresses on our own network that stand in an alert's URL, as networks of one address.

    >>> named_addresses("json://me:secret@10.0.0.7:8080/hook"), named_addresses("slack://a/b/c")
    (('10.0.0.7/32',), ())
    """
    found: dict[str, None] = {}
    for literal in _LITERAL.findall(url):
        for text in _LOCALHOST if literal == "localhost" else (literal.strip("[]"),):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                continue
            if any(address in network for network in _OWN):
                found[f"{address}/{address.max_prefixlen}"] = None
    return tuple(found)


def alert_policy(networks: Iterable[str]) -> AddressPolicy:
    """What an alert may connect to: any port, since mail and chats have ports of their own.

    Args:
        networks: Special-purpose networks that are open.
    """
    return AddressPolicy(networks, range(1, 65_536))
