"""Which network addresses may be connected to. Pure; the connector asks at connect time.

Looking at the URL alone is not enough: names resolve to anything, redirects lead anywhere, and a
name may resolve differently the second time. So the address actually connected to is what counts.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL_PURPOSE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
        "192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 "
        "192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "224.0.0.0/4 240.0.0.0/4 "
        "::/128 ::1/128 ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 "
        "100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 "
        "3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
    ).split()
)
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")


class AddressPolicy:
    """Says whether an address and port may be connected to.

    Args:
        allow_networks: Special-purpose networks that are allowed all the same.
        ports: Allowed ports.
        only: (address, port) that every connection must go to, where one is set.
    """

    def __init__(
        self,
        allow_networks: Iterable[str] = (),
        ports: Iterable[int] = (80, 443),
        only: tuple[str, int] | None = None,
    ) -> None:
        self._allowed = tuple(ipaddress.ip_network(text) for text in allow_networks)
        self._ports = frozenset(ports)
        self._only = (ipaddress.ip_address(only[0]), only[1]) if only else None
        self._why_special = lru_cache(maxsize=10_000)(self._check_address)

    def refusal(self, host: str, port: int) -> str | None:
        """Why this address must not be connected to, or None when it may.

        Args:
            host: A literal IPv4 or IPv6 address (a zone id is ignored).
            port: TCP port.
        """
        address = ipaddress.ip_address(host.partition("%")[0])
        if self._only is not None:
            if (address, port) != self._only:
                return f"{address}:{port} is not the one address that connections are sent to"
        elif port not in self._ports:
            return f"port {port} is not one of the allowed ports"
        return self._why_special(address)

    def _check_address(self, address: Address) -> str | None:
        if any(address in network for network in self._allowed):
            return None
        for network in SPECIAL_PURPOSE:
            if address in network:
                return f"{address} lies in {network}, which is not on the public internet"
        if address.version == 6 and address not in _PUBLIC_V6:
            return f"{address} is not a public IPv6 address"
        return None
