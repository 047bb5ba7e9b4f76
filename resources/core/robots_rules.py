"""What a host's robots.txt says to us. Pure; fetching and keeping it is in `adapters/robots`.

The parser keeps a copy of each rule for each agent of its group: half a megabyte of agents and
rules then takes a minute. So lines about other agents are made alike before it sees them.

Source: RFC 9309, sections 2.2 and 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from protego import Protego

from resources.core.pacing import LONGEST_PAUSE_S

MAX_BYTES = 512_000
"""500 KiB, as much as RFC 9309 asks for."""
AGENT = "pipeline"
"""Our product token; the User-Agent header begins with it."""
MOST_SITEMAPS = 20
_MAX_SITEMAP_CHARS = 2_000
_AGENT_LINE = re.compile(r"\s*user(?:-|\s+)?agent(?:\s*:|\s)\s*([^#]*)", re.IGNORECASE)
_TOKEN = re.compile(r"[a-z_-]+", re.IGNORECASE)
# No agent has this in its name.
_NOT_US = "~"


class RobotsRules:
    """The rules of one file for us.

    Args:
        text: The file; None where there is none, and everything is allowed.
        agent: Whose rules.

    >>> rules = RobotsRules("User-agent: *\\nDisallow: /private\\nCrawl-delay: 2")
    >>> rules.may_fetch("https://acme.example/private/a"), rules.crawl_delay_s
    (False, 2.0)
    """

    def __init__(self, text: str | None, agent: str = AGENT) -> None:
        self._agent = agent
        self._parsed = Protego.parse("\n".join(_lines(text, agent.lower()))) if text else None
        self.size_chars = len(text or "")

    @classmethod
    def from_bytes(cls, body: bytes) -> RobotsRules:
        """Read a file as it was sent; what lies beyond `MAX_BYTES` is not read."""
        if len(body) >= MAX_BYTES:
            # Half a line may say the opposite of the whole one: "Disallow: /" of "/private".
            body = body[:MAX_BYTES]
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
        # Some editors begin a file with a byte order mark, which would hide its first line.
        return cls(body.decode("utf-8-sig", errors="replace"))

    def may_fetch(self, url: str) -> bool:
        """Whether the URL may be fetched."""
        return self._parsed is None or bool(self._parsed.can_fetch(url, self._agent))

    @property
    def crawl_delay_s(self) -> float:
        """Seconds between the begins of two requests; 0 where nothing is asked for.

        A day at most: some files ask for so much that no calendar holds it.
        """
        if self._parsed is None:
            return 0.0
        delay_s = float(self._parsed.crawl_delay(self._agent) or 0.0)
        rate = self._parsed.request_rate(self._agent)
        if rate is not None:
            delay_s = max(delay_s, rate.seconds / rate.requests)
        return min(max(0.0, delay_s), LONGEST_PAUSE_S)

    @property
    def sitemaps(self) -> tuple[str, ...]:
        """Where the file says that sitemaps are; as written, so they may be anything."""
        if self._parsed is None:
            return ()
        found = (url for url in self._parsed.sitemaps if len(url) <= _MAX_SITEMAP_CHARS)
        return tuple(dict.fromkeys(islice(found, MOST_SITEMAPS)))


def _lines(text: str, agent: str) -> Iterator[str]:
    """The lines, with all agents that are not this one (in lower case) under one name."""
    for line in text.splitlines():
        found = _AGENT_LINE.match(line)
        named = found.group(1).strip().lower() if found else ""
        bare = named.replace("*", "")
        if not named or named in agent:
            yield line
        elif not bare:
            yield "User-agent: *"
        elif bare in agent:
            yield f"User-agent: {bare}"
        else:
            token = _TOKEN.match(named)
            is_this = token is not None and token.group() == agent  # with a version behind it
            yield f"User-agent: {agent if is_this else _NOT_US}"
