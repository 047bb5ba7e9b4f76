"""The phase PAGE_SCRAPING: visits one site: robots.txt, home page, the few pages that matter.

A page's body is in the store and its row in the ledger before the visit goes on, so that an
interrupted one begins where it stopped and fetches nothing twice. When a site is done:
design.md, "When is a domain done?": when its home page is settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from resources.adapters.earlier_visit import HOME, EarlierVisit, earlier_visit
from resources.adapters.extraction_pool import Extracted, ExtractionPool, Wanted
from resources.adapters.fetcher import ROBOTS_TAG, Fetcher, Response, Validators
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.pages import PageRow
from resources.adapters.page_keeper import Fetched, PageKeeper
from resources.adapters.robots import Robots
from resources.adapters.sitemaps import Sitemaps
from resources.adapters.suffix_list import bundled_rules
from resources.adapters.time_limits import never_connected
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.extract import PageChoice, fill_up, guesses
from resources.core.extract.page_choice import GUESSED
from resources.core.models import DomainTask, Phase, Settled, State
from resources.core.ports import Clock
from resources.core.robots_directives import Directives, directives_of
from resources.core.site_forms import HomeForms, PageMarks, are_new, is_guest, moved_to

CODE_VERSION = "2"
SITEMAP = "sitemap"
# A slow sitemap must leave time for the pages that it is about.
SITEMAPS_SHARE = 0.3
# The home page settles a site; slow other pages must not use up the domain's time and undo that.
OTHERS_SHARE = 0.8
_NOINDEX = "the site asks that what it says is not kept: noindex"


@dataclass(frozen=True, slots=True)
class _Visited:
    row: PageRow
    page: Extracted
    said: Directives
    is_as_before: bool


class SiteVisit:
    """Scrapes one site per attempt. One instance serves all domains of a run.

    Args:
        fresh_s: Seconds for which a fetched page need not be asked for again.
    """

    phase = Phase.PAGE_SCRAPING

    def __init__(
        self,
        fetcher: Fetcher,
        robots: Robots,
        extraction: ExtractionPool,
        ledger: Ledger,
        keeper: PageKeeper,
        clock: Clock,
        settings: FetchSettings,
        fresh_s: float,
    ) -> None:
        self._fetcher = fetcher
        self._robots = robots
        self._sitemaps = Sitemaps(fetcher)
        self._extraction = extraction
        self._ledger = ledger
        self._keeper = keeper
        self._clock = clock
        self._settings = settings
        self._domain_timeout_s = settings.domain_timeout
        self._fresh_s = fresh_s
        self.concurrency = settings.concurrency

    async def attempt(self, task: DomainTask) -> Settled | Failure:
        """Visit the site once."""
        known = self._earlier(task)
        others_until = asyncio.get_running_loop().time() + OTHERS_SHARE * self._domain_timeout_s
        try:
            home = await self._home(task, known)
        except CallError as error:
            return error.failure
        refusal = _refusal_of(home)
        if refusal is not None:
            return refusal
        try:
            choices, lost = await self._choices(task, home, known, others_until)
        except CallError as error:
            return error.failure
        pages, failed = await self._others(task, home, choices, known, others_until)
        failed = sorted([*lost, *failed], key=lambda item: item["url"])
        result = _result(home, pages, failed)
        result["moved_to"] = moved_to(task.domain, home.row.final_url, bundled_rules())
        return Settled(State.SUCCEEDED, payload=orjson.dumps(result, option=orjson.OPT_SORT_KEYS))

    async def close(self) -> None:
        """Nothing to wait for: a page that is not here yet costs nothing to fetch again."""

    async def _home(self, task: DomainTask, known: EarlierVisit) -> _Visited:
        """The home page, in the first of its forms that answers."""
        forms = HomeForms(task.domain, known.home_url())
        for url in forms:
            try:
                return await self._page(task, url, HOME, known)
            except CallError as error:
                forms.failed(error, is_unreached=never_connected(error))
        raise forms.failure

    async def _choices(
        self, task: DomainTask, home: _Visited, known: EarlierVisit, until: float
    ) -> tuple[Sequence[PageChoice], list[dict[str, Any]]]:
        """Which pages to visit: those that links lead to, then those of the sitemap, then guesses;
        where the home page is as it was, those that were visited before.

        Returns: pages, and sitemaps that could not be had.
        """
        moved = moved_to(task.domain, home.row.final_url, bundled_rules())
        if is_guest(moved, home.row.final_url):
            return (), []
        limit = self._settings.pages_per_site - 1
        if home.is_as_before and home.said.is_followed:
            is_asked = not known.is_of_before(home.row)
            before = known.choices(with_lost=is_asked)
            if before or not is_asked:
                return before[:limit], []
        links = home.page.choices if home.said.is_followed else []
        chosen = tuple(PageChoice(**choice) for choice in links)
        if len(chosen) >= limit:
            return chosen, []
        here = home.row.final_url
        site = _site_of(task.domain, here)
        left_s = until - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, left_s * SITEMAPS_SHARE)):
                listed = (await self._robots.rules(here)).sitemaps
                found = await self._sitemaps.pages(site, here, listed, self._may_ask)
        except TimeoutError:
            return chosen, [{"url": here, "role": SITEMAP, "kind": FailureKind.TIMEOUT}]
        lost = [{"url": one.url, "role": SITEMAP, "kind": one.kind} for one in found.failures]
        chosen = fill_up(chosen, found.urls, site, (here, home.row.url), limit=limit)
        if home.said.is_followed:
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(here))
            language = home.page.language
            chosen += guesses(chosen, origin, language, limit=limit)
        return chosen, lost

    async def _others(
        self,
        task: DomainTask,
        home: _Visited,
        choices: Sequence[PageChoice],
        known: EarlierVisit,
        until: float,
    ) -> tuple[list[_Visited], list[dict[str, Any]]]:
        room = asyncio.Semaphore(self._settings.connections_per_host)
        failed: list[dict[str, Any]] = []

        async def visit(url: str, kind: str) -> _Visited | None:
            async with room:
                try:
                    return await self._page(task, url, kind, known)
                except CallError as error:
                    if error.failure.kind in {FailureKind.STORE, FailureKind.BUG}:
                        raise
                    failed.append({"url": url, "role": kind, "kind": error.failure.kind})
                    return None

        visits = [asyncio.ensure_future(visit(choice.url, choice.kind)) for choice in choices]
        try:
            if visits:
                left_s = until - asyncio.get_running_loop().time()
                await asyncio.wait(visits, timeout=max(0.0, left_s))
            found = [one.result() for one in visits if one.done()]
            failed += [
                {"url": choice.url, "role": choice.kind, "kind": FailureKind.TIMEOUT}
                for choice, one in zip(choices, visits, strict=True)
                if not one.done()
            ]
        finally:
            for one in visits:
                one.cancel()
            await asyncio.gather(*visits, return_exceptions=True)
        had = [v for v in found if v is not None]
        # Nobody said that there is such a page.
        guessed = {choice.url for choice in choices if choice.reason == GUESSED}
        had = [v for v in had if v.row.url not in guessed or _why_left_out(v) is None]
        failed += [
            {"url": v.row.url, "role": v.row.role, "kind": kind}
            for v in had
            if (kind := _why_left_out(v)) is not None
        ]
        visited = [v for v in had if _why_left_out(v) is None]
        return _without_copies(home, visited), failed

    async def _page(self, task: DomainTask, url: str, role: str, known: EarlierVisit) -> _Visited:
        row = known.fetched(url)
        if row is not None and (page := await self._kept(task, row)) is not None:
            return _visited(row, page, is_as_before=known.is_of_before(row))
        old = known.asked_before(url)
        response = await self._fetcher.fetch(
            url, may_ask=self._may_ask, validators=_validators(old) if old is not None else None
        )
        if old is not None and response.status == HTTPStatus.NOT_MODIFIED:
            page = known.page_of(old) or await self._kept(task, old)
            if page is not None:
                row = replace(old, role=role, fetched_at=self._clock.now())
                await self._keeper.keep_unchanged(row)
                return _visited(row, page, is_as_before=True)
            response = await self._fetcher.fetch(url, may_ask=self._may_ask)
        return await self._new(task, url, role, response, known.rows.get(url))

    async def _new(
        self, task: DomainTask, url: str, role: str, response: Response, old: PageRow | None
    ) -> _Visited:
        """A page that was fetched now."""
        robots_tag = response.headers.get(ROBOTS_TAG)
        is_indexed = directives_of(_lines(robots_tag)).is_indexed
        if not is_indexed and response.status < HTTPStatus.BAD_REQUEST:
            raise CallError(Failure(FailureKind.ROBOTS, f"{_NOINDEX} (X-Robots-Tag)", url))
        now = self._clock.now()
        row = PageRow(
            domain=task.domain,
            url=url,
            role=role,
            final_url=response.url,
            status=response.status,
            content_type=response.headers.get("content-type"),
            body_hash=None,
            size_bytes=0,
            fetched_at=now,
            etag=response.headers.get("etag"),
            last_modified=response.headers.get("last-modified"),
            robots_tag=robots_tag,
        )
        page = await self._extract(task, response.url, row, response.sent, response.encoding)
        is_same = old is not None and old.body_hash == page.body_hash
        row = replace(
            row,
            body_hash=page.body_hash,
            size_bytes=page.size_bytes,
            changed_at=old.changed_at if old is not None and is_same else now,
        )
        row = await self._keeper.keep(Fetched(row, response.sent, response.encoding))
        return _visited(row, page)

    def _earlier(self, task: DomainTask) -> EarlierVisit:
        result = self._ledger.work.result(self.phase, task.domain) if task.last_settled_at else None
        return earlier_visit(
            task,
            self._ledger.pages.of_domain(task.domain),
            result.payload if result is not None else None,
            0.0 if task.is_extract_only else self._clock.now() - self._fresh_s,
            is_same_code=result is not None and result.code_version == CODE_VERSION,
        )

    async def _kept(self, task: DomainTask, row: PageRow) -> Extracted | None:
        """A page that this visit has fetched before; None when its body is not what it was."""
        kept = self._keeper.sent(row)
        if kept is None:
            return None
        try:
            page = await self._extract(task, row.final_url, row, *kept)
        except CallError as error:
            if error.failure.kind is not FailureKind.MALFORMED:
                raise
            return None
        return page if page.body_hash == row.body_hash else None

    async def _may_ask(self, url: str) -> float:
        rules = await self._robots.rules(url)
        if not rules.may_fetch(url):
            raise CallError(Failure(FailureKind.ROBOTS, "robots.txt does not allow this page", url))
        return rules.crawl_delay_s

    async def _extract(
        self, task: DomainTask, final_url: str, row: PageRow, sent: bytes, encoding: str
    ) -> Extracted:
        return await self._extraction.extract(
            Wanted(
                sent,
                encoding,
                final_url,
                row.content_type,
                task.query.country,
                site=_site_of(task.domain, final_url) if row.role == HOME else None,
                limit=self._settings.pages_per_site - 1,
            )
        )


def _visited(row: PageRow, page: Extracted, *, is_as_before: bool = False) -> _Visited:
    return _Visited(row, page, directives_of(_lines(row.robots_tag), page.robots), is_as_before)


def _validators(row: PageRow) -> Validators:
    return Validators(row.final_url, row.etag, row.last_modified)


def _lines(robots_tag: str | None) -> Sequence[str]:
    return (robots_tag or "").split("\n")


def _site_of(domain: str, final_url: str) -> str:
    """The host that a site's pages lie on or below; another one when the site has moved."""
    host = urlsplit(final_url).hostname or domain
    return domain if host == domain or host.endswith(f".{domain}") else host.removeprefix("www.")


def _refusal_of(home: _Visited) -> Settled | None:
    """How a home page settles a domain without a profile, if it does."""
    status = home.row.status
    if status == HTTPStatus.NOT_FOUND:
        return _without(State.NOT_FOUND, FailureKind.NOT_FOUND, "The home page is not there.")
    if status == HTTPStatus.GONE:
        return _without(State.NOT_FOUND, FailureKind.GONE, "The home page is gone for good.")
    if status >= HTTPStatus.BAD_REQUEST:
        return _without(
            State.REFUSED, FailureKind.HTTP_4XX, f"The site declined the home page (HTTP {status})."
        )
    if not home.page.is_html:
        kind = home.row.content_type or "unknown content"
        return _without(
            State.REFUSED, FailureKind.UNSUPPORTED_CONTENT, f"The home page is no HTML ({kind})."
        )
    if not home.said.is_indexed:
        return _without(State.REFUSED, FailureKind.ROBOTS, f"Of the home page, {_NOINDEX}.")
    return None


def _why_left_out(visited: _Visited) -> str | None:
    """Why a page that was fetched is no part of the result, if it is none."""
    if visited.row.status >= HTTPStatus.BAD_REQUEST:
        return f"http_{visited.row.status}"
    return None if visited.said.is_indexed else FailureKind.ROBOTS


def _without(state: State, kind: FailureKind, reason: str) -> Settled:
    return Settled(state, kind=kind, reason=reason)


def _without_copies(home: _Visited, visited: Sequence[_Visited]) -> list[_Visited]:
    """Pages that are no copies of those before them: many sites answer all paths alike."""
    pages = [one for one in visited if one.page.is_html]
    new = are_new(_marks(home), [_marks(one) for one in pages])
    return [one for one, is_new in zip(pages, new, strict=True) if is_new]


def _marks(visited: _Visited) -> PageMarks:
    row, page = visited.row, visited.page
    return PageMarks(row.final_url, row.body_hash, page.canonical, page.text_key)


def _result(
    home: _Visited, pages: Sequence[_Visited], failed: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "site": home.row.final_url,
        "pages": [
            {
                "role": visited.row.role,
                "asked_url": visited.row.url,
                "status": visited.row.status,
                "fetched_at": visited.row.fetched_at,
                "body_hash": visited.row.body_hash,
                "size_bytes": visited.row.size_bytes,
                "changed_at": visited.row.changed_at,
                "page": orjson.Fragment(visited.page.page_json),
            }
            for visited in (home, *pages)
        ],
        "failed": list(failed),
    }
