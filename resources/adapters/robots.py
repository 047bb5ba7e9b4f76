"""robots.txt: fetched once a day per host, kept in the ledger, obeyed.

What a file says is not here (`core/robots_rules`).

Source: RFC 9309: 4xx means everything is allowed, 5xx or unreachable means nothing is, for now;
at least five redirects are followed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from resources.adapters.fetcher import Fetcher, RedirectsError
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.pages import RobotsRow
from resources.core.ports import Clock
from resources.core.robots_rules import MAX_BYTES, RobotsRules

HOSTS_IN_MEMORY = 500
CHARS_IN_MEMORY = 1_000_000
"""Of all files together: a rule takes about fifty times as much memory as its text."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The rules of a host, and when they were fetched, epoch seconds."""

    rules: RobotsRules
    fetched_at: float


class Robots:
    """Rules by host, from the ledger while fresh, else fetched."""

    def __init__(
        self, fetcher: Fetcher, ledger: Ledger, commits: CommitQueue, clock: Clock, ttl_s: float
    ) -> None:
        self._fetcher = fetcher
        self._ledger = ledger
        self._commits = commits
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._known_chars = 0
        self._loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def rules(self, url: str) -> RobotsRules:
        """The rules for a URL's host.

        Raises:
            CallError: the file could not be had (5xx, unreachable): nothing may be fetched now.
        """
        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
        rules = self._fresh(host)
        if rules is not None:
            return rules
        # Whoever comes meanwhile waits for the one that asks.
        lock = self._loading.get(host) or self._loading.setdefault(host, asyncio.Lock())
        async with lock:
            rules = self._fresh(host)
            if rules is None:
                known = await self._load(host)
                self._remember(host, known)
                rules = known.rules
        return rules

    @property
    def size_chars(self) -> int:
        """Length of all files whose rules are kept in memory."""
        return self._known_chars

    def _fresh(self, host: str) -> RobotsRules | None:
        known = self._known.get(host)
        if known is None or known.fetched_at < self._clock.now() - self._ttl_s:
            return None
        return known.rules

    def _remember(self, host: str, known: _Known) -> None:
        before = self._known.pop(host, None)
        if before is not None:
            self._known_chars -= before.rules.size_chars
        self._known[host] = known
        self._known_chars += known.rules.size_chars
        while self._known and (
            len(self._known) > HOSTS_IN_MEMORY or self._known_chars > CHARS_IN_MEMORY
        ):
            _, oldest = self._known.popitem(last=False)
            self._known_chars -= oldest.rules.size_chars

    async def _load(self, host: str) -> _Known:
        row = self._ledger.pages.robots_of(host, self._clock.now() - self._ttl_s)
        if row is None:
            row = await self._fetch(host)
            fresh = row
            await self._commits.commit(
                lambda: self._ledger.pages.save_robots(fresh), is_progress=True
            )
        rules = RobotsRules(None) if row.status >= 400 else RobotsRules.from_bytes(row.body)
        return _Known(rules, row.fetched_at)

    async def _fetch(self, host: str) -> RobotsRow:
        try:
            response = await self._fetcher.fetch(f"{host}/robots.txt", cut_at=MAX_BYTES)
        except RedirectsError:
            # In a circle, or more than five: "unavailable", so all is allowed (2.3.1.2).
            return RobotsRow(host, 404, b"", self._clock.now())
        body = response.body(MAX_BYTES, is_cut=True)
        return RobotsRow(host, response.status, body, self._clock.now())
