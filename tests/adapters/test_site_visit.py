"""One site: its home page settles it; what was fetched is never fetched again."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from resources.adapters.bodies import FOLDER, BodyReader, BodyWriter
from resources.adapters.connector import guarded_session
from resources.adapters.extraction_pool import Extracted, ExtractionPool, Wanted
from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.page_keeper import PageKeeper, place_of
from resources.adapters.robots import Robots
from resources.adapters.site_visit import CODE_VERSION, SiteVisit
from resources.core.breaker import BreakerPolicy
from resources.core.config import FetchSettings
from resources.core.errors import Failure, FailureKind
from resources.core.models import CompanyQuery, DomainTask, Phase, Settled, State
from resources.core.rounds import RoundPolicy, after_attempt
from tests.support.gates import NEVER_OPENS, gate_on
from tests.support.ledgers import add_list, open_at, sqlite_url
from tests.support.raw_server import RawServer, Request, Step, hang, redirect, reply, reset, then
from tests.support.time import NOW, ManualClock, ManualSleep, until

FRESH_S = 1000.0
TASK = DomainTask(CompanyQuery("acme.example", country="DE"), "a-00001")
HOME = b"""<html><head><title>Acme</title></head><body><h1>Acme GmbH</h1>
<a href="/about">About us</a> <a href="/contact">Contact</a> <a href="/imprint">Imprint</a>
</body></html>"""
NO_ROBOTS = reply(b"", "404 Not Found")
Script = Mapping[str, Step | Sequence[Step]]


def _page(title: str) -> bytes:
    return reply(f"<html><title>{title}</title><body>{title} of Acme</body></html>".encode())


SITE: dict[str, Step | Sequence[Step]] = {
    "/robots.txt": NO_ROBOTS,
    "/": reply(HOME),
    "/about": _page("About"),
    "/contact": _page("Contact"),
    "/imprint": _page("Imprint"),
}


class _CountingPool(ExtractionPool):
    """A pool that tells how many pages it was given."""

    extractions = 0

    async def extract(self, wanted: Wanted) -> Extracted:
        self.extractions += 1
        return await super().extract(wanted)


class _Visits:
    """What visits need, on one server and one home folder."""

    def __init__(self, server: RawServer, folder: Path, stack: AsyncExitStack) -> None:
        self.server = server
        self.ledger = open_at(sqlite_url(folder))
        stack.callback(self.ledger.close)
        self.commits = CommitQueue(self.ledger.database, 10)
        stack.callback(self.commits.close)
        bodies = BodyWriter(folder / "store", "worker")
        stack.callback(bodies.close)
        reader = BodyReader(folder / "store")
        self.keeper = PageKeeper(self.ledger.pages, self.commits, bodies, reader)
        self.clock = ManualClock()
        self._stack = stack
        self._pool: _CountingPool | None = None

    @property
    def extractions(self) -> int:
        """Pages extracted so far."""
        return self._pool.extractions if self._pool is not None else 0

    async def visit(self, policy: BreakerPolicy = NEVER_OPENS, **limits: Any) -> SiteVisit:
        """A phase's work, as a new run would have it."""
        values: dict[str, Any] = {
            "connect_to": self.server.address,
            "allow_networks": ("127.0.0.0/8",),
            "attempts": 1,
            "read_timeout": 5,
        }
        settings = FetchSettings(**{**values, **limits})
        if self._pool is None:
            self._pool = await self._stack.enter_async_context(
                _CountingPool(1, settings.max_body_bytes)
            )
        session = await self._stack.enter_async_context(guarded_session(settings, "x"))
        sleep = ManualSleep(self.clock)
        gate = await self._stack.enter_async_context(
            gate_on(self.ledger, policy=policy, clock=self.clock, sleep=sleep)
        )
        fetcher = Fetcher(session, gate, settings, self.clock, Random(0), sleep)
        return SiteVisit(
            fetcher,
            Robots(fetcher, self.ledger, self.commits, self.clock, settings.robots_ttl),
            self._pool,
            self.ledger,
            self.keeper,
            self.clock,
            settings,
            FRESH_S,
        )


@asynccontextmanager
async def _visits(folder: Path, script: Script) -> AsyncIterator[_Visits]:
    async with RawServer(script) as server, AsyncExitStack() as stack:
        yield _Visits(server, folder, stack)


def _in(folder: Path, script: Script, play: Callable[[_Visits], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with _visits(folder, script) as visits:
            return await play(visits)

    return asyncio.run(asyncio.wait_for(run(), 40))


def _attempt(folder: Path, script: Script, **limits: Any) -> Settled | Failure:
    async def play(visits: _Visits) -> Settled | Failure:
        return await (await visits.visit(**limits)).attempt(TASK)

    outcome: Settled | Failure = _in(folder, script, play)
    return outcome


def _content(outcome: Settled | Failure) -> dict[str, Any]:
    assert isinstance(outcome, Settled), outcome
    assert outcome.state is State.SUCCEEDED, outcome
    assert outcome.payload is not None
    content: dict[str, Any] = orjson.loads(outcome.payload)
    return content


def test_a_site_is_its_home_page_and_the_pages_that_tell_about_the_company(
    tmp_path: Path,
) -> None:
    content = _content(_attempt(tmp_path, SITE))
    assert content["site"] == "https://acme.example/"
    assert content["failed"] == []
    titles = [page["page"]["title"] for page in content["pages"]]
    assert titles[0] == "Acme"
    assert sorted(titles[1:]) == ["About", "Contact", "Imprint"]
    reader = BodyReader(tmp_path / "store")
    ledger = open_at(sqlite_url(tmp_path))
    rows = ledger.pages.of_domain(TASK.domain)
    ledger.close()
    for page in content["pages"]:
        row = rows[page["asked_url"]]
        place = place_of(row)
        assert place is not None
        assert row.body_hash == page["body_hash"]
        assert reader.body(place, page["body_hash"], 1_000_000) is not None


@pytest.mark.parametrize(
    ("step", "state", "kind"),
    [
        (reply(b"gone", "404 Not Found"), State.NOT_FOUND, FailureKind.NOT_FOUND),
        (reply(b"gone", "410 Gone"), State.NOT_FOUND, FailureKind.GONE),
        (reply(b"no", "403 Forbidden"), State.REFUSED, FailureKind.HTTP_4XX),
        (
            reply(b"%PDF-1.7", content_type="application/octet-stream"),
            State.REFUSED,
            FailureKind.UNSUPPORTED_CONTENT,
        ),
    ],
)
def test_the_home_page_settles_the_site(
    tmp_path: Path, step: Step, state: State, kind: FailureKind
) -> None:
    outcome = _attempt(tmp_path, {**SITE, "/": step})
    assert isinstance(outcome, Settled)
    assert (outcome.state, outcome.kind) == (state, kind)
    assert outcome.payload is None
    assert outcome.reason


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (reset, FailureKind.CONNECT),
        (reply(b"", "500 Oops"), FailureKind.HTTP_5XX),
        (reply(b"x" * 5000), FailureKind.TOO_LARGE),
        (redirect("/"), FailureKind.MALFORMED),
        (reply(b"%PDF-1.7", content_type="application/pdf"), FailureKind.UNSUPPORTED_CONTENT),
        (redirect("http://127.0.0.9/"), FailureKind.BLOCKED_ADDRESS),
    ],
)
def test_a_home_page_that_cannot_be_had_is_a_failure(
    tmp_path: Path, step: Step, kind: FailureKind
) -> None:
    outcome = _attempt(tmp_path, {**SITE, "/": step}, max_body_bytes=4000)
    assert isinstance(outcome, Failure), outcome
    assert outcome.kind is kind


def test_a_robots_file_that_forbids_the_home_page_is_obeyed(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> Settled | Failure:
        outcome = await (await visits.visit()).attempt(TASK)
        assert set(visits.server.paths) == {"/robots.txt"}
        return outcome

    script = {**SITE, "/robots.txt": reply(b"User-agent: *\nDisallow: /\n")}
    outcome = _in(tmp_path, script, play)
    assert outcome.kind is FailureKind.ROBOTS


def test_a_page_that_robots_forbid_is_left_out_and_said_so(tmp_path: Path) -> None:
    script = {**SITE, "/robots.txt": reply(b"User-agent: *\nDisallow: /about\n")}
    content = _content(_attempt(tmp_path, script))
    assert [(item["url"], item["kind"]) for item in content["failed"]] == [
        ("https://acme.example/about", "robots")
    ]
    assert len(content["pages"]) == 3


# -- where the site is ------------------------------------------------------------------------


def test_a_site_that_moved_to_another_domain_is_recorded_as_moved(tmp_path: Path) -> None:
    there = {f"new.example{path}": step for path, step in SITE.items()}
    script = {**there, "/robots.txt": NO_ROBOTS, "acme.example/": redirect("https://new.example/")}
    content = _content(_attempt(tmp_path, script))
    assert (content["site"], content["moved_to"]) == ("https://new.example/", "new.example")
    assert len(content["pages"]) == 4


def test_a_site_that_has_not_moved_says_so(tmp_path: Path) -> None:
    assert _content(_attempt(tmp_path, SITE))["moved_to"] is None


def test_of_a_site_that_became_a_page_of_another_only_that_page_is_taken(tmp_path: Path) -> None:
    script = {
        "/robots.txt": NO_ROBOTS,
        "acme.example/": redirect("https://social.example/acme-tools"),
        "social.example/acme-tools": reply(HOME),
        "*": _page("Others"),
    }
    content = _content(_attempt(tmp_path, script))
    assert content["moved_to"] == "social.example"
    assert len(content["pages"]) == 1


# -- which pages ------------------------------------------------------------------------------

BARE = reply(b"<html lang=en><title>Acme</title><body>Acme. <a href=/pricing>Prices</a></body>")


def _map(*paths: str, kind: str = "url") -> bytes:
    lines = "".join(f"<{kind}><loc>https://acme.example{path}</loc></{kind}>" for path in paths)
    return f"<?xml version='1.0'?><urlset>{lines}</urlset>".encode()


def _bare(**pages: Step) -> dict[str, Step | Sequence[Step]]:
    named = {f"/{name.replace('_xml', '.xml')}": step for name, step in pages.items()}
    others: dict[str, Step | Sequence[Step]] = {"/robots.txt": NO_ROBOTS, "/": BARE}
    return {**others, "/pricing": _page("Pricing"), **named}


def _titles(content: Mapping[str, Any]) -> list[str]:
    return [page["page"]["title"] for page in content["pages"]]


def test_where_links_lead_to_few_pages_the_sitemap_names_others(tmp_path: Path) -> None:
    sitemap = reply(_map("/", "/blog/x", "/contact", "/about", "/login"))
    script = _bare(sitemap_xml=sitemap, contact=_page("Contact"), about=_page("About"))
    content = _content(_attempt(tmp_path, script))
    assert _titles(content) == ["Acme", "Pricing", "About", "Contact"]
    assert content["failed"] == []


def test_where_links_lead_to_enough_pages_no_sitemap_is_asked_for(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> set[str]:
        _content(await (await visits.visit(pages_per_site=4)).attempt(TASK))
        return set(visits.server.paths)

    assert "/sitemap.xml" not in _in(tmp_path, SITE, play)


def test_an_index_in_packed_files_is_followed_where_robots_txt_says(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> tuple[list[str], set[str]]:
        content = _content(await (await visits.visit()).attempt(TASK))
        return _titles(content), set(visits.server.paths)

    index = _map("/posts.xml.gz", "/pages.xml.gz", "/more.xml", "/most.xml", kind="sitemap")
    script = {
        **_bare(contact=_page("Contact")),
        "/robots.txt": reply(b"Sitemap: https://acme.example/index.xml\n"),
        "/index.xml": reply(index),
        "/pages.xml.gz": reply(gzip.compress(_map("/contact")), content_type="application/gzip"),
    }
    titles, asked = _in(tmp_path, script, play)
    assert titles == ["Acme", "Pricing", "Contact"]
    assert {"/index.xml", "/pages.xml.gz", "/more.xml"} <= asked
    assert not {"/sitemap.xml", "/posts.xml.gz", "/most.xml"} & asked


def test_sitemaps_of_other_hosts_and_forbidden_ones_are_not_asked_for(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> tuple[list[str], dict[str, Any]]:
        content = _content(await (await visits.visit()).attempt(TASK))
        return [request.host + request.target for request in visits.server.requests], content

    robots = b"""User-agent: *\nDisallow: /private
Sitemap: https://evil.example/a.xml
Sitemap: http://169.254.169.254/latest
Sitemap: file:///etc/passwd
Sitemap: https://acme.example/private/map.xml
"""
    asked, content = _in(tmp_path, {**_bare(), "/robots.txt": reply(robots)}, play)
    assert not [one for one in asked if "acme.example" not in one or "private" in one]
    assert [(one["role"], one["kind"]) for one in content["failed"]] == [("sitemap", "robots")]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (reset, "connect"),
        (reply(b"", "503 Down"), "http_5xx"),
        (reply(b"\x1f\x8b no gzip"), "malformed"),
        (redirect("http://127.0.0.9/map.xml"), "blocked_address"),
        (hang, "timeout"),
    ],
)
def test_a_sitemap_that_cannot_be_had_is_told_and_the_site_goes_on(
    tmp_path: Path, step: Step, kind: str
) -> None:
    content = _content(_attempt(tmp_path, _bare(sitemap_xml=step), domain_timeout=4))
    assert _titles(content) == ["Acme", "Pricing"]
    assert [(one["role"], one["kind"]) for one in content["failed"]] == [("sitemap", kind)]


def test_where_nothing_leads_to_who_they_are_the_usual_paths_are_tried(tmp_path: Path) -> None:
    content = _content(_attempt(tmp_path, _bare(contact=_page("Contact"))))
    assert _titles(content) == ["Acme", "Pricing", "Contact"]
    assert content["failed"] == []  # nobody had said that there is an /about


def test_a_page_that_redirects_to_one_that_is_there_counts_once(tmp_path: Path) -> None:
    script = {**SITE, "/contact": redirect("/about")}
    assert len(_content(_attempt(tmp_path, script))["pages"]) == 3


NOINDEX = b"<html><head><meta name=robots content=noindex><title>T</title></head>About us"


@pytest.mark.parametrize("step", [reply(NOINDEX), reply(b"<p>x", x_robots_tag="noindex")])
def test_a_page_that_asks_not_to_be_kept_is_left_out_and_said_so(
    tmp_path: Path, step: Step
) -> None:
    content = _content(_attempt(tmp_path, {**SITE, "/about": step}))
    assert [(item["url"], item["kind"]) for item in content["failed"]] == [
        ("https://acme.example/about", "robots")
    ]
    assert "About" not in [page["page"]["title"] for page in content["pages"]]


@pytest.mark.parametrize("step", [reply(NOINDEX), reply(HOME, x_robots_tag="pipeline: none")])
def test_a_home_page_that_asks_not_to_be_kept_is_refused(tmp_path: Path, step: Step) -> None:
    outcome = _attempt(tmp_path, {**SITE, "/": step})
    assert outcome.kind is FailureKind.ROBOTS
    assert "noindex" in (outcome.reason if isinstance(outcome, Settled) else outcome.message)


@pytest.mark.parametrize(
    "step",
    [
        reply(HOME.replace(b"<title>", b"<meta name=robots content=nofollow><title>")),
        reply(HOME, x_robots_tag="nofollow"),
    ],
)
def test_links_that_are_not_to_be_followed_are_not(tmp_path: Path, step: Step) -> None:
    async def play(visits: _Visits) -> list[str]:
        for _ in range(2):  # the second time from what was kept
            content = _content(await (await visits.visit()).attempt(TASK))
            assert [page["page"]["title"] for page in content["pages"]] == ["Acme"]
        return sorted(visits.server.paths)

    assert set(_in(tmp_path, {**SITE, "/": step}, play)) <= {"/", "/robots.txt", "/sitemap.xml"}


def test_what_is_said_to_another_robot_changes_nothing(tmp_path: Path) -> None:
    script = {**SITE, "/": reply(HOME, x_robots_tag="otherbot: noindex, nofollow")}
    assert len(_content(_attempt(tmp_path, script))["pages"]) == 4


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (reset, "connect"),
        (reply(b"", "503 Down"), "http_5xx"),
        (reply(b"no", "404 Not Found"), "http_404"),
        (then(reply(b"half", length=999), reset), "connect"),
    ],
)
def test_another_page_that_fails_does_not_unsettle_the_site(
    tmp_path: Path, step: Step, kind: str
) -> None:
    content = _content(_attempt(tmp_path, {**SITE, "/contact": step}))
    assert [item["kind"] for item in content["failed"]] == [kind]
    assert len(content["pages"]) == 3


def test_other_pages_that_never_answer_do_not_use_up_the_time_of_the_domain(
    tmp_path: Path,
) -> None:
    script = {**SITE, "/about": hang, "/contact": hang}
    content = _content(_attempt(tmp_path, script, domain_timeout=2))
    assert [item["kind"] for item in content["failed"]] == ["timeout", "timeout"]
    assert [page["page"]["title"] for page in content["pages"]] == ["Acme", "Imprint"]


def test_copies_of_a_page_under_other_addresses_are_kept_once(tmp_path: Path) -> None:
    script = {"/robots.txt": NO_ROBOTS, "*": reply(HOME)}
    assert len(_content(_attempt(tmp_path, script))["pages"]) == 1


def test_only_so_many_pages_are_fetched(tmp_path: Path) -> None:
    assert len(_content(_attempt(tmp_path, SITE, pages_per_site=2))["pages"]) == 2
    alone = tmp_path / "alone"
    alone.mkdir()
    assert len(_content(_attempt(alone, SITE, pages_per_site=1))["pages"]) == 1


def test_plain_http_and_www_are_tried_where_the_first_form_cannot_be_reached(
    tmp_path: Path,
) -> None:
    # https and http look alike on the wire here; what differs is the connection.
    script = {**SITE, "/robots.txt": [reset, NO_ROBOTS]}
    content = _content(_attempt(tmp_path, script))
    assert content["site"] == "http://acme.example/"
    folder = tmp_path / "www"
    folder.mkdir()
    script = {**SITE, "/robots.txt": [reset, reset, NO_ROBOTS]}
    assert _content(_attempt(folder, script))["site"] == "https://www.acme.example/"


@pytest.mark.parametrize(
    ("www", "kind"), [(reset, FailureKind.CONNECT), (reply(b"no", "404 Not Found"), None)]
)
def test_a_host_that_is_paused_after_an_earlier_form_hides_neither_its_failure_nor_the_last_form(
    tmp_path: Path, www: Step, kind: FailureKind | None
) -> None:
    async def play(visits: _Visits) -> Settled | Failure:
        visit = await visits.visit(BreakerPolicy(threshold=1))
        outcome = await visit.attempt(TASK)
        # The second form is the same host, which is paused by then.
        hosts = [request.host for request in visits.server.requests]
        assert hosts.count("acme.example") == 1
        assert "www.acme.example" in hosts
        return outcome

    script = {
        **SITE,
        "acme.example/robots.txt": reset,
        "www.acme.example/robots.txt": www,
    }
    outcome = _in(tmp_path, script, play)
    assert outcome.kind is kind


def test_a_site_that_is_paused_waits_and_is_not_asked(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        visit = await visits.visit(BreakerPolicy(threshold=1, timeout_s=300))
        first = await visit.attempt(TASK)
        assert isinstance(first, Failure)
        assert first.kind is FailureKind.HTTP_5XX
        asked = len(visits.server.requests)
        again = await visit.attempt(TASK)
        assert isinstance(again, Failure)
        assert (again.kind, again.retry_after_s) == (FailureKind.BREAKER_OPEN, 300)
        assert "acme.example" in again.message
        assert len(visits.server.requests) == asked

    _in(tmp_path, {**SITE, "/robots.txt": reply(b"", "500 Oops")}, play)


def test_an_interrupted_visit_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        first = await visits.visit(connections_per_host=1)
        interrupted = asyncio.ensure_future(first.attempt(TASK))
        await until(lambda: "/imprint" in visits.server.paths)
        interrupted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await interrupted
        before = visits.server.paths
        kept = visits.ledger.pages.of_domain("acme.example")
        assert "https://acme.example/" in kept
        outcome = await (await visits.visit()).attempt(replace(TASK, rounds=1))
        content = _content(outcome)
        assert len(content["pages"]) == 4
        after = visits.server.paths
        for row in kept.values():
            path = row.url.removeprefix("https://acme.example")
            assert after[path] == before[path], f"{path} was fetched again"
        assert after["/robots.txt"] == 1
        assert after["/imprint"] == 2

    _in(tmp_path, {**SITE, "/imprint": [hang, _page("Imprint")]}, play)


def test_a_domain_that_is_to_be_refreshed_is_fetched_anew(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        visit = await visits.visit()
        await visit.attempt(TASK)
        visits.clock.advance(FRESH_S + 1)
        await visit.attempt(replace(TASK, last_settled_at=NOW + 1))
        assert visits.server.paths["/"] == 2

    _in(tmp_path, SITE, play)


def test_a_stored_page_that_went_bad_is_fetched_again_and_mended(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        visit = await visits.visit(pages_per_site=1)
        await visit.attempt(TASK)
        (path,) = (tmp_path / "store" / FOLDER).iterdir()
        with path.open("r+b") as file:
            file.write(b"spoilt")
        for _ in range(2):
            assert len(_content(await visit.attempt(TASK))["pages"]) == 1
        assert visits.server.paths["/"] == 2

    _in(tmp_path, SITE, play)


def test_the_same_site_gives_the_same_result(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    outcomes = []
    for folder in folders:
        folder.mkdir()
        outcomes.append(_attempt(folder, SITE))
    assert outcomes[0] == outcomes[1]


def _stamped(body: bytes, etag: str) -> Step:
    """A page that says 304 to whoever has it already."""

    async def play(request: Request, writer: asyncio.StreamWriter) -> None:
        is_known = request.headers.get("if-none-match") == etag
        status = "304 Not Modified" if is_known else "200 OK"
        writer.write(reply(b"" if is_known else body, status, etag=etag))
        await writer.drain()

    return play


def _titled(title: str) -> bytes:
    return f"<html><title>{title}</title><body>{title} of Acme</body></html>".encode()


STAMPED: dict[str, Step | Sequence[Step]] = {
    "/robots.txt": NO_ROBOTS,
    "/": _stamped(HOME, '"home-1"'),
    "/about": [_stamped(_titled("About"), '"a1"'), _stamped(_titled("About, new"), '"a2"')],
    "/contact": _stamped(_titled("Contact"), '"c"'),
    "/imprint": _stamped(_titled("Imprint"), '"i"'),
    "*": reply(b"", "404 Not Found"),
}


async def _settled_again(
    visits: _Visits,
    after_s: float,
    *,
    code_version: str = CODE_VERSION,
    between: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Visit a site, write down what came of it, and visit it once more later."""
    worker = visits.ledger.workers.begin(Phase.PAGE_SCRAPING, "run", visits.clock.now())
    add_list(visits.ledger, "a", [TASK.domain])
    (task,) = visits.ledger.work.claim(
        worker, Phase.PAGE_SCRAPING, ["a-00001"], 1, visits.clock.now() + 1, visits.clock.now()
    )
    first = await (await visits.visit()).attempt(task)
    change = after_attempt(task, first, visits.clock.now(), RoundPolicy(8, 60))
    visits.ledger.work.settle(worker, Phase.PAGE_SCRAPING, change, code_version, visits.clock.now())
    again = replace(task, last_settled_at=visits.clock.now())
    visits.clock.advance(after_s)
    between()
    visits.server.requests.clear()
    return _content(first), _content(await (await visits.visit()).attempt(again))


def test_of_pages_that_have_not_changed_nothing_is_sent_or_extracted_again(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        first, again = await _settled_again(visits, FRESH_S + 1)
        asked = [request.target for request in visits.server.requests]
        assert sorted(path for path in asked if path != "/robots.txt") == [
            *("/", "/about", "/contact", "/imprint")
        ]
        titles = [page["page"]["title"] for page in again["pages"]]
        assert titles == ["Acme", "About, new", "Contact", "Imprint"]
        for before, after in zip(first["pages"], again["pages"], strict=True):
            has_changed = after["asked_url"].endswith("/about")
            assert after["fetched_at"] > before["fetched_at"]
            assert (after["changed_at"] > before["changed_at"]) is has_changed
            assert (after["page"] != before["page"]) is has_changed
        assert visits.extractions == 5

    _in(tmp_path, STAMPED, play)


def test_newer_code_extracts_again_what_is_still_fresh_and_fetches_nothing(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        first, again = await _settled_again(visits, FRESH_S - 1, code_version="0")
        assert visits.server.requests == []
        assert again == first
        assert visits.extractions == 8

    _in(tmp_path, STAMPED, play)


def test_what_was_refused_before_is_asked_for_again(tmp_path: Path) -> None:
    async def play(visits: _Visits) -> None:
        script_first = await (await visits.visit()).attempt(TASK)
        assert script_first.kind is FailureKind.HTTP_4XX
        again = replace(TASK, last_settled_at=visits.clock.now())
        visits.clock.advance(60)
        assert _titles(_content(await (await visits.visit()).attempt(again)))[0] == "Acme"

    _in(tmp_path, {**SITE, "/": [reply(b"no", "403 Forbidden"), reply(HOME)]}, play)


def test_a_page_that_is_gone_from_the_store_is_sent_again(tmp_path: Path) -> None:
    def lose() -> None:
        for path in (tmp_path / "store" / FOLDER).iterdir():
            path.unlink()

    async def play(visits: _Visits) -> None:
        after_s = FRESH_S + 1
        _, again = await _settled_again(visits, after_s, code_version="0", between=lose)
        assert _titles(again) == ["Acme", "About, new", "Contact", "Imprint"]
        assert visits.server.paths["/"] == 2  # 304 first, then the whole page

    _in(tmp_path, STAMPED, play)
