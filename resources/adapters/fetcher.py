"""Fetches one page: redirects by hand, sizes bounded, failures classified, retries by policy.

Whether a page may be fetched (robots.txt) and which pages to fetch is not here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from resources.adapters.call_gate import PATIENCE_S, CallGate
from resources.adapters.calling import call_with_retries
from resources.adapters.connector import address_of
from resources.adapters.inflate import BrokenEncodingError, TooLargeError, inflate
from resources.adapters.permit import site_endpoint
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.ports import Clock, Sleep
from resources.core.redaction import redact
from resources.core.retry import RetryPolicy, parse_retry_after
from resources.core.web_url import unreadable, url_refusal

HEADERS = {
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5",
    "Accept-Language": "en,*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
ROBOTS_TAG = "x-robots-tag"
MayAsk = Callable[[str], Awaitable[float]]
_MEDIA = re.compile(r"(?:image|audio|video|font)/|application/(?:pdf|zip)\b", re.IGNORECASE)
_REDIRECTS = {301, 302, 303, 307, 308}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]+(%[a-z0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, the body still as it was sent: who reads it unpacks it, elsewhere for pages.

    Args:
        status: HTTP status.
        url: The URL after redirects.
        headers: Names in lower case; several `x-robots-tag` one to a line.
        sent: The body, encoded as `encoding` says.
        encoding: All content encodings, in the order they were applied, by comma; empty for none.
        is_cut: More bytes would have come.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    sent: bytes
    encoding: str = ""
    is_cut: bool = False

    def body(self, most: int, *, is_cut: bool = False) -> bytes:
        """The body, unpacked.

        Args:
            most: Most bytes.
            is_cut: Take the first `most` bytes of a longer one, instead of refusing it.

        Raises:
            CallError: MALFORMED or TOO_LARGE.
        """
        try:
            return inflate(
                self.sent, self.encoding, most, is_cut=is_cut, is_end_missing=self.is_cut
            )
        except BrokenEncodingError as error:
            raise _failure(FailureKind.MALFORMED, str(error), self.url) from error
        except TooLargeError as error:
            raise _failure(FailureKind.TOO_LARGE, str(error), self.url) from error


@dataclass(frozen=True, slots=True)
class Validators:
    """What a page said about itself when it was fetched, to be asked whether it has changed.

    Args:
        url: Where it was found, after redirects; other URLs are asked without them.
        etag: As it was given.
        last_modified: As it was given.
    """

    url: str
    etag: str | None
    last_modified: str | None

    def headers(self) -> dict[str, str]:
        """The headers of a conditional request."""
        given = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in given.items() if value}


class RedirectsError(CallError):
    """Redirects lead in a circle, or there are too many of them."""


class Fetcher:
    """Fetches over the guarded session.

    Args:
        session: From `connector.guarded_session`.
        gate: Every request passes it: breaker and pace of its host.
        settings: Limits.
        random: Source of jitter, seeded by whoever builds it.
        sleep: Waits between tries; as the gate waits unless given.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gate: CallGate,
        settings: FetchSettings,
        clock: Clock,
        random: Random,
        sleep: Sleep | None = None,
    ) -> None:
        self._session = session
        self._gate = gate
        self._settings = settings
        self._clock = clock
        self._random = random
        self._sleep = sleep or gate.sleep
        self._policy = RetryPolicy(attempts=settings.attempts)

    async def fetch(
        self,
        url: str,
        *,
        may_ask: MayAsk | None = None,
        cut_at: int | None = None,
        validators: Validators | None = None,
    ) -> Response:
        """GET a URL, following redirects.

        Args:
            may_ask: Called with each URL before it is asked for, the targets of redirects
                included; raises where it must not be, and returns the host's crawl-delay.
            cut_at: Take only so many bytes, as sent, of a longer body, instead of refusing it.

            validators: Ask for the page only if it has changed; status 304 says that it has not.

        Returns: any answer below 500 other than 408, 425 and 429; the caller judges its status.
        Raises:
            CallError: with the failure's kind.
        """
        seen = {url}
        here = url
        for redirects in range(self._settings.max_redirects + 1):
            response = await self._hop(
                here, may_ask, cut_at, validators, is_redirected=redirects > 0
            )
            target = response.headers.get("location")
            if response.status not in _REDIRECTS or target is None:
                return response
            here = _joined(here, target)
            if here in seen:
                raise RedirectsError(_malformed("redirects lead in a circle", here))
            seen.add(here)
        limit = self._settings.max_redirects
        raise RedirectsError(_malformed(f"more than {limit} redirects", url))

    async def _hop(
        self,
        url: str,
        may_ask: MayAsk | None,
        cut_at: int | None,
        validators: Validators | None,
        *,
        is_redirected: bool,
    ) -> Response:
        """One request, with its retries."""
        wire = _web_address(url, self._settings.ports)
        crawl_delay_s = await may_ask(url) if may_ask is not None else 0.0
        # Given up for the delay that its own first request began, a page would never be had.
        patience_s = max(PATIENCE_S, crawl_delay_s) if is_redirected else PATIENCE_S
        headers = HEADERS
        if validators is not None and validators.url == url:
            headers = HEADERS | validators.headers()
        host, limit_s = wire.raw_host or "", self._settings.connect_timeout
        address = await address_of(self._session, host, wire.port or 0, limit_s)
        endpoint = site_endpoint(wire.host or "", self._settings.connections_per_host, address)

        async def get() -> Response:
            async with self._gate.call(
                endpoint, url=url, patience_s=patience_s, crawl_delay_s=crawl_delay_s
            ):
                return await self._get(url, wire, headers, cut_at)

        return await call_with_retries(
            get,
            policy=self._policy,
            random=self._random,
            may_retry=lambda: self._gate.breakers.take_retry(endpoint),
            sleep=self._sleep,
        )

    async def _get(
        self, url: str, wire: URL, asked: Mapping[str, str], cut_at: int | None
    ) -> Response:
        if self._settings.connect_to:
            wire = wire.with_scheme("http")
        async with self._session.get(
            wire, headers=asked, allow_redirects=False, auto_decompress=False
        ) as answer:
            headers = _headers(answer)
            _raise_for_status(answer.status, headers, url, self._clock.now())
            if answer.status in _REDIRECTS and "location" in headers:
                return Response(answer.status, url, headers, b"")
            if cut_at is None and answer.status < HTTPStatus.BAD_REQUEST:
                _refuse_media(headers.get("content-type", ""), url)
            sent, is_cut = await _read(answer, url, self._settings.max_body_bytes, cut_at)
        encoding = ",".join(answer.headers.getall("content-encoding", ()))
        return Response(answer.status, url, headers, sent, encoding, is_cut)


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if ROBOTS_TAG in headers:
        # Each may be about another robot, so they are kept apart; no other header is read twice.
        headers[ROBOTS_TAG] = "\n".join(answer.headers.getall(ROBOTS_TAG))
    return headers


def _refuse_media(content_type: str, url: str) -> None:
    """A film is not fetched to find out that it is no page. What else is no page shows its body."""
    if _MEDIA.match(content_type.strip()):
        message = f"the answer is no page ({content_type.strip()[:100]})"
        raise _failure(FailureKind.UNSUPPORTED_CONTENT, message, url)


async def _read(
    answer: aiohttp.ClientResponse, url: str, most: int, cut_at: int | None
) -> tuple[bytes, bool]:
    """The body as it is sent, and whether it was cut off."""
    parts = []
    size = 0
    limit = most if cut_at is None else cut_at
    while part := await answer.content.readany():
        parts.append(part)
        size += len(part)
        if size > limit:
            if cut_at is not None:
                return b"".join(parts)[:cut_at], True
            raise _failure(FailureKind.TOO_LARGE, f"the page is larger than {most} bytes", url)
    return parts[0] if len(parts) == 1 else b"".join(parts), False


def _joined(here: str, target: str) -> str:
    target = target.strip(" ")
    if reason := unreadable(target):
        raise _failure(FailureKind.MALFORMED, f"redirect to a broken address: {reason}", here)
    try:
        return urljoin(here, target)
    except ValueError:
        raise _failure(FailureKind.MALFORMED, "redirect to a broken address", here) from None


def _web_address(url: str, ports: Sequence[int]) -> URL:
    """The URL as it is sent. What cannot be one is the other side's mistake, not a bug of ours."""
    if refusal := url_refusal(url, ports):
        raise _failure(refusal.kind, refusal.message, url[:300])
    try:
        address = URL(url)
        host = address.raw_host or ""
        host.encode("idna")  # what name resolution does with it
    except ValueError:
        host = ""
    if _HOST.fullmatch(host) is None:
        raise _failure(FailureKind.MALFORMED, "this is no web address", url[:300])
    return address


def _raise_for_status(status: int, headers: Mapping[str, str], url: str, now: float) -> None:
    if status < HTTPStatus.OK:
        raise _failure(FailureKind.MALFORMED, f"HTTP {status}, which is no answer", url)
    wait_s = parse_retry_after(headers.get("retry-after"), now, headers.get("date"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _failure(FailureKind.RATE_LIMITED, "HTTP 429: too many requests", url, wait_s)
    if status in {408, 425}:
        raise _failure(FailureKind.TIMEOUT, f"HTTP {status}", url, wait_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _failure(FailureKind.HTTP_5XX, f"HTTP {status}", url, wait_s)


def _failure(
    kind: FailureKind, message: str, url: str, retry_after_s: float | None = None
) -> CallError:
    return CallError(Failure(kind, message, redact(url), retry_after_s=retry_after_s))


def _malformed(message: str, url: str) -> Failure:
    return Failure(FailureKind.MALFORMED, message, redact(url))
