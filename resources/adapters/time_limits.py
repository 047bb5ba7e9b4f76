"""Which of our own time limits ended a call, in words.

What the HTTP client raises says no more than that some time was over. That it was a time-out at all
is for `classify` to say; the limits of domains, batches and steps are in `core/run_limits`.
"""

from __future__ import annotations

import aiohttp

from resources.core.config import FetchSettings


def which_limit(error: BaseException, settings: FetchSettings) -> str | None:
    """Name the limit that a call ran into.

    A bare `TimeoutError` is the total limit: aiohttp raises it for that alone. So ask about what a
    call raised, and not about what ended a domain's whole visit.

    Args:
        error: What the call raised, with its causes.
        settings: What the limits were.

    Returns: a sentence with the seconds and the setting's name, or None when it was no limit of
        ours: something else, or the system gave a connection up by itself.
    """
    links = _with_causes(error)

    def is_among(kind: type[BaseException]) -> bool:
        return any(isinstance(link, kind) for link in links)

    if is_among(aiohttp.ConnectionTimeoutError):
        return _sentence(settings.connect_timeout, "to set up a connection", "connect_timeout")
    if is_among(aiohttp.SocketTimeoutError):
        return _sentence(settings.read_timeout, "between two pieces of data", "read_timeout")
    # With a number it is the operating system's (ETIMEDOUT).
    if any(type(link) is TimeoutError and link.errno is None for link in links):
        return _sentence(settings.total_timeout, "for one whole call", "total_timeout")
    return None


def never_connected(error: BaseException) -> bool:
    """Whether a call ended because no connection came about in time."""
    return any(isinstance(link, aiohttp.ConnectionTimeoutError) for link in _with_causes(error))


def _sentence(limit_s: float, what: str, name: str) -> str:
    return f"the limit of {limit_s:g} s {what} was reached ({name})"


def _with_causes(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(links) < 10:
        links.append(link)
        link = link.__cause__
    return links
