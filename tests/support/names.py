"""A resolver that tests write: which name leads where, and which to nowhere."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
"""What the system's resolver raises for NXDOMAIN."""
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
"""What it raises for SERVFAIL, or when no name server answers in time."""


@dataclass(frozen=True)
class Place:
    """Where a name leads.

    Args:
        ports: Ports that are connected to instead of those of the URL.
    """

    address: str = "127.0.0.1"
    ports: Mapping[int, int] = field(default_factory=dict)


class Names(AbstractResolver):
    """Answers from a table; a name that is not in it, with `www.` or without, does not exist."""

    def __init__(self, table: Mapping[str, Place | socket.gaierror]) -> None:
        self._table = table

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self._table.get(host.removeprefix("www."), NO_SUCH_NAME)
        if isinstance(found, socket.gaierror):
            raise socket.gaierror(*found.args)
        return [
            ResolveResult(
                hostname=host,
                host=found.address,
                port=found.ports.get(port, port),
                family=family or socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""
