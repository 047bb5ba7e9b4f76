"""robots.txt: fetched once a day per host, kept in the ledger, obeyed.

Source: RFC 9309: 4xx means everything is allowed, 5xx or unreachable means nothing is, for now;
at least 500 KiB are parsed.
"""

from __future__ import annotations

from collections import OrderedDict
from urllib.parse import urlsplit

from protego import Protego

from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.pages import RobotsRow
from resources.core.errors import CallError, FailureKind
from resources.core.pacing import LONGEST_PAUSE_S
from resources.core.ports import Clock

MAX_BYTES = 512_000
HOSTS_IN_MEMORY = 500
AGENT = "pipeline"


class Rules:
    """What one host's robots.txt says to us."""

    def __init__(self, text: str | None) -> None:
        self._parsed = Protego.parse(text) if text else None

    def may_fetch(self, url: str) -> bool:
        """Whether the URL may be fetched."""
        return self._parsed is None or bool(self._parsed.can_fetch(url, AGENT))

    @property
    def crawl_delay_s(self) -> float:
        """Seconds between the begins of two requests; 0 where nothing is asked for.

        A day at most: some files ask for so much that no calendar holds it.
        """
        delay = self._parsed.crawl_delay(AGENT) if self._parsed is not None else None
        return min(max(0.0, float(delay or 0.0)), LONGEST_PAUSE_S)


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
        self._parsed: OrderedDict[str, Rules] = OrderedDict()

    async def rules(self, url: str) -> Rules:
        """The rules for a URL's host.

        Raises:
            CallError: the file could not be had (5xx, unreachable): nothing may be fetched now.
        """
        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
        rules = self._parsed.get(host)
        if rules is None:
            rules = self._parsed[host] = await self._load(host)
            if len(self._parsed) > HOSTS_IN_MEMORY:
                self._parsed.popitem(last=False)
        return rules

    async def _load(self, host: str) -> Rules:
        known = self._ledger.pages.robots_of(host, self._clock.now() - self._ttl_s)
        if known is None:
            known = await self._fetch(host)
            fresh = known
            await self._commits.commit(
                lambda: self._ledger.pages.save_robots(fresh), is_progress=True
            )
        if known.status >= 400:
            return Rules(None)
        # Some editors begin a file with a byte order mark, which would hide its first line.
        return Rules(known.body.decode("utf-8-sig", errors="replace"))

    async def _fetch(self, host: str) -> RobotsRow:
        try:
            response = await self._fetcher.fetch(f"{host}/robots.txt", cut_at=MAX_BYTES)
        except CallError as error:
            # Redirects in a circle, or more than five: "unavailable", so all is allowed (2.3.1.2).
            if error.failure.kind is FailureKind.MALFORMED:
                return RobotsRow(host, 404, b"", self._clock.now())
            raise
        return RobotsRow(host, response.status, response.body, self._clock.now())
