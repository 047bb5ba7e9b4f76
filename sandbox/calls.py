"""Counts what was asked for and what was billed, for a test to hold against the ledger.

`calls` counts each domain that an API was asked for, `requests` the HTTP requests to it,
`billed` the matches of a paid API whose answers were sent whole. `pages` counts requests on a
company site that are neither robots.txt nor a sitemap, failed ones too; `disallowed` those of
them that the site's robots.txt forbids.
"""

from dataclasses import dataclass, field
from sys import intern
from typing import Any

APIS = ("pdl", "wikidata", "rdap")
PAID = ("pdl",)
# Enough for every page of a real site; a flood of made-up paths must not fill the memory.
_PATHS_PER_HOST = 200
_OTHER_PATHS = "*"


def _per_api() -> dict[str, dict[str, int]]:
    return {api: {} for api in APIS}


@dataclass(slots=True)
class Calls:
    """The counters of one sandbox since its start or the last reset."""

    calls: dict[str, dict[str, int]] = field(default_factory=_per_api)
    billed: dict[str, dict[str, int]] = field(default_factory=lambda: {api: {} for api in PAID})
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(APIS, 0))
    pages: dict[str, int] = field(default_factory=dict)
    robots: dict[str, int] = field(default_factory=dict)
    sitemaps: dict[str, int] = field(default_factory=dict)
    disallowed: dict[str, int] = field(default_factory=dict)
    paths: dict[str, dict[str, int]] = field(default_factory=dict)
    credits: int = 0

    def count_call(self, api: str, domains: tuple[str, ...]) -> None:
        """Count one request to an API and each domain it asks for."""
        self.requests[api] += 1
        counts = self.calls[api]
        for domain in domains:
            counts[domain] = counts.get(domain, 0) + 1

    def count_billed(self, domains: tuple[str, ...]) -> None:
        """Count matches of the paid API that have just been sent whole."""
        counts = self.billed["pdl"]
        self.credits += len(domains)
        for domain in domains:
            counts[domain] = counts.get(domain, 0) + 1

    def count_site(self, host: str, path: str) -> None:
        """Count a request on a company site under what it asks for."""
        if path == "/robots.txt":
            counts = self.robots
        elif path.startswith("/sitemap") and path.endswith((".xml", ".xml.gz")):
            counts = self.sitemaps
        else:
            counts = self.pages
        counts[host] = counts.get(host, 0) + 1
        paths = self.paths.get(host)
        if paths is None:
            paths = self.paths[host] = {}
        if path not in paths:
            path = intern(path) if len(paths) < _PATHS_PER_HOST else _OTHER_PATHS
        paths[path] = paths.get(path, 0) + 1

    def count_disallowed(self, host: str) -> None:
        """Count a page request that robots.txt forbids."""
        self.disallowed[host] = self.disallowed.get(host, 0) + 1

    def reset(self) -> None:
        """Set every counter to zero."""
        fresh = Calls()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def report(self, with_paths: bool) -> dict[str, Any]:
        """Return all counters as `GET /_sandbox/calls` answers them."""
        report: dict[str, Any] = {
            "calls": self.calls,
            "billed": self.billed,
            "pages": self.pages,
            "robots": self.robots,
            "sitemaps": self.sitemaps,
            "disallowed": self.disallowed,
            "requests": self.requests,
        }
        return report | {"paths": self.paths} if with_paths else report
