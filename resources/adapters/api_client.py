"""The client for provider APIs: one question, its whole answer, and nothing that happens unseen.

No redirect is followed, no cookie kept, nothing sent again, and no user name or password of a URL
goes anywhere. How a question gets out, past the address guard, is in `connector.guarded_client`;
what an answer means is for each provider to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent.

    Args:
        method: GET or POST.
        url: Without user name and password.
        headers: Beside those that every request has.
        body: None for no body.
    """

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever its status.

    Args:
        status: HTTP status.
        url: What was asked for, without user name and password.
        headers: By name, in whatever case; the first value of each.
        body: All of it, unpacked.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status <= 299


class UnansweredError(aiohttp.ClientError):
    """A question brought no whole answer; the cause says why.

    Args:
        url: What was asked for, without user name and password.
    """

    def __init__(self, url: str) -> None:
        super().__init__("no whole answer came")
        self.url = url


Send = Callable[[Question], Awaitable[Reply]]


class ApiClient:
    """Asks provider APIs.

    Args:
        send: Sends one question.

    All of its methods raise:
        UnansweredError: no whole answer came, or not in time.
        aiohttp.InvalidURL: the URL is none; nothing was sent.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask by GET, with parameters added to the URL's own."""
        address = _address(url)
        if params:
            address = address.update_query(params)
        return await self._send(Question("GET", address, headers or {}))

    async def post_json(self, url: str, value: Any, *, headers: Mapping[str, str]) -> Reply:
        """Ask by POST with a JSON body."""
        sent = {**headers, "Content-Type": "application/json"}
        return await self._send(Question("POST", _address(url), sent, orjson.dumps(value)))

    async def post_form(
        self, url: str, fields: Mapping[str, str], *, headers: Mapping[str, str]
    ) -> Reply:
        """Ask by POST as a browser's form does."""
        sent = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        return await self._send(Question("POST", _address(url), sent, urlencode(fields).encode()))


def _address(url: str) -> URL:
    try:
        address = URL(url)
        if "@" in url and "@" in address.raw_authority:
            address = address.with_user(None)
    except ValueError as error:
        raise aiohttp.InvalidURL(url, str(error)) from error
    if not address.raw_host:
        raise aiohttp.InvalidURL(url, "it names no host")
    return address
