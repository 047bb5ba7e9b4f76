"""Each kind of failure, produced for real in a run of its phase, ends as the table says.

A row of `TABLE` for each member of the closed set: what becomes of the domain, whether that used up
a round, whether it counted for the breaker, whether it is tried again by itself, whether a person
must act. A new kind without a row and without somebody who produces it fails here. A full disk and
a database that is away end whole runs: `test_full_disk.py` and `test_database_away.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.core.config import FetchSettings, ProviderSettings, ProvidersSettings
from resources.core.errors import RULES, FailureKind, Handling, LeaseLost
from resources.core.models import Phase
from resources.core.run_events import PassEnded
from tests.support.certificates import self_signed
from tests.support.names import NO_ANSWER, NO_SUCH_NAME, Names, Place
from tests.support.phases import LOOPBACK, PhaseHome, Standing, phase_home
from tests.support.raw_server import RawServer, Step, hang, redirect, reply, reset

ENRICHMENT, SCRAPING = Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING
KIND = FailureKind


Produce = Callable[[Path], Coroutine[None, None, Standing]]


@dataclass(frozen=True)
class Row:
    """What a failure of one kind leads to."""

    state: str
    is_round: bool = False
    is_counted: bool = False
    is_tried_again: bool = False
    needs_person: bool = False


AWAY = Row("waiting", is_round=True, is_counted=True, is_tried_again=True)
WAITS = Row("waiting", is_tried_again=True)
PERSON = Row("waiting", needs_person=True)
TABLE: Mapping[FailureKind, Row] = {
    KIND.TIMEOUT: AWAY,
    KIND.CONNECT: AWAY,
    KIND.DNS: AWAY,
    KIND.TLS: AWAY,
    KIND.HTTP_5XX: AWAY,
    KIND.RATE_LIMITED: Row("waiting", is_round=True, is_tried_again=True),
    KIND.BREAKER_OPEN: WAITS,
    KIND.LIMITER: WAITS,
    KIND.QUOTA_EXHAUSTED: PERSON,
    KIND.BUDGET_EXHAUSTED: PERSON,
    KIND.AUTH: PERSON,
    KIND.STORE: WAITS,
    KIND.LOCAL_NETWORK: WAITS,
    KIND.CANCELLED: WAITS,
    KIND.LEASE_LOST: WAITS,
    KIND.NO_SUCH_HOST: Row("refused"),
    KIND.TLS_CERTIFICATE: Row("refused"),
    KIND.NOT_FOUND: Row("not_found"),
    KIND.GONE: Row("not_found"),
    KIND.ROBOTS: Row("refused"),
    KIND.BLOCKED_ADDRESS: Row("refused"),
    KIND.TOO_LARGE: Row("refused"),
    KIND.UNSUPPORTED_CONTENT: Row("refused"),
    KIND.MALFORMED: Row("refused"),
    KIND.HTTP_4XX: Row("refused"),
    KIND.BUG: Row("waiting", is_round=True, is_tried_again=True),
}
"""LEASE_LOST is written nowhere: whoever has lost the domain writes nothing more."""

NO_ROBOTS = reply(b"", "404 Not Found")
PAGES: Mapping[FailureKind, Step] = {
    KIND.TIMEOUT: hang,
    KIND.CONNECT: reset,
    KIND.HTTP_5XX: reply(b"", "503 Service Unavailable"),
    KIND.RATE_LIMITED: reply(b"", "429 Too Many Requests"),
    KIND.NOT_FOUND: reply(b"", "404 Not Found"),
    KIND.GONE: reply(b"", "410 Gone"),
    KIND.ROBOTS: reply(b"User-agent: *\nDisallow: /\n", content_type="text/plain"),
    KIND.TOO_LARGE: reply(b"x" * 20_000),
    KIND.UNSUPPORTED_CONTENT: reply(b"%PDF-1.7", content_type="application/pdf"),
    KIND.MALFORMED: redirect("/"),
    KIND.HTTP_4XX: reply(b"", "403 Forbidden"),
}
"""What a site answers to everything, and what comes of it."""
NAMES = (KIND.DNS, KIND.NO_SUCH_HOST, KIND.BLOCKED_ADDRESS, KIND.TLS)
WELL = "well.example"


def _domain(kind: FailureKind) -> str:
    return f"{kind.replace('_', '-')}.example"


def _fetch(**settings: object) -> FetchSettings:
    own = {"read_timeout": 0.5, "attempts": 1, "extractors": 1, "max_body_bytes": 10_000}
    # A name that resolves on every machine: what goes wrong is not our network's fault.
    return FetchSettings.model_validate({**own, "control_names": ("localhost",), **settings})


def _at(server: RawServer, **settings: object) -> FetchSettings:
    return _fetch(connect_to=server.address, allow_networks=LOOPBACK, **settings)


def _pages_script() -> dict[str, Step]:
    script: dict[str, Step] = {}
    for kind, step in PAGES.items():
        script[f"{_domain(kind)}/robots.txt"] = step if kind is KIND.ROBOTS else NO_ROBOTS
        for host in (_domain(kind), f"www.{_domain(kind)}"):
            script[f"{host}/"] = step
    return script | {f"{WELL}/": reply(), f"{WELL}/robots.txt": NO_ROBOTS}


async def _scrape_sites(folder: Path) -> dict[FailureKind, Standing]:
    """One run over a list of sites that fail in all the ways in which a site can answer."""
    kinds = list(PAGES)
    async with RawServer(_pages_script()) as server:
        with phase_home(folder, _at(server), max_rounds=2) as home:
            domains = [*map(_domain, kinds), WELL]
            keys = home.take_in(domains)
            await home.run(SCRAPING, keys)
            found = {kind: home.standing(SCRAPING, _domain(kind)) for kind in kinds}
            assert home.standing(SCRAPING, WELL) == Standing(
                "succeeded", None, 0, False, False, False
            )
            asked = server.paths.total()
            await home.run(SCRAPING, keys)
            _check_second_round(home, kinds)
            again = {request.host.removeprefix("www.") for request in server.requests[asked:]}
            rounds = {_domain(kind) for kind in kinds if TABLE[kind].is_round}
            assert again == rounds, "what is settled is not asked for again"
    return found


def _check_second_round(home: PhaseHome, kinds: Sequence[FailureKind]) -> None:
    """The last of two rounds gives a domain up; what was settled at once stays as it is."""
    for kind in kinds:
        after = home.standing(SCRAPING, _domain(kind))
        assert after.kind is kind
        assert after.rounds == (2 if TABLE[kind].is_round else 0)
        assert after.state == ("quarantined" if TABLE[kind].is_round else TABLE[kind].state)


async def _no_tls(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"This is no TLS.\r\n\r\n")
    await writer.drain()
    writer.close()


async def _scrape_names(folder: Path) -> dict[FailureKind, Standing]:
    """One run over names that lead nowhere, or to where nobody speaks TLS."""
    to_https = {"*": redirect(f"https://{_domain(KIND.TLS)}/")}
    async with RawServer(to_https) as plain:
        broken = await asyncio.start_server(_no_tls, "127.0.0.1", 0)
        port = broken.sockets[0].getsockname()[1]
        names = {
            _domain(KIND.DNS): NO_ANSWER,
            _domain(KIND.NO_SUCH_HOST): NO_SUCH_NAME,
            _domain(KIND.BLOCKED_ADDRESS): Place("10.0.0.7"),
            _domain(KIND.TLS): Place(ports={443: port, 80: plain.port}),
        }
        fetch = _fetch(allow_networks=LOOPBACK, ports=(80, 443, port, plain.port))
        with phase_home(folder, fetch) as home:
            keys = home.take_in([_domain(kind) for kind in NAMES])
            await home.run(SCRAPING, keys, Names(names))
            found = {kind: home.standing(SCRAPING, _domain(kind)) for kind in NAMES}
        broken.close()
        await broken.wait_closed()
    return found


async def _bad_certificate(folder: Path) -> Standing:
    domain = _domain(KIND.TLS_CERTIFICATE)
    certificate = self_signed(folder)
    to_https = {"*": redirect(f"https://{domain}/")}
    async with RawServer(to_https) as plain, RawServer({"*": reply()}, certificate) as secure:
        fetch = _fetch(allow_networks=LOOPBACK, ports=(80, 443, plain.port, secure.port))
        names = Names({domain: Place(ports={443: secure.port, 80: plain.port})})
        with phase_home(folder, fetch) as home:
            await home.run(SCRAPING, home.take_in([domain]), names)
            assert secure.requests == []
            return home.standing(SCRAPING, domain)


async def _local_network(folder: Path) -> Standing:
    with phase_home(folder, _fetch(control_names=("no-such-name.invalid",))) as home:
        await home.run(SCRAPING, home.take_in([WELL]), Names({WELL: NO_SUCH_NAME}))
        return home.standing(SCRAPING, WELL)


async def _breaker_open(folder: Path) -> Standing:
    async with RawServer({"*": reply(b"", "503 Service Unavailable")}) as server:
        with phase_home(folder, _at(server), circuit_breaker_threshold=1) as home:
            keys = home.take_in([WELL])
            await home.run(SCRAPING, keys)
            first = home.standing(SCRAPING, WELL)
            assert (first.kind, first.rounds) == (KIND.HTTP_5XX, 1)
            sent = len(server.requests)
            await home.run(SCRAPING, keys)
            assert len(server.requests) == sent
            return _since(first, home.standing(SCRAPING, WELL))


def _since(first: Standing, second: Standing) -> Standing:
    """What the second of two runs added: the first one had opened the breaker."""
    return Standing(
        second.state,
        second.kind,
        second.rounds - first.rounds,
        False,
        second.is_tried_again,
        second.needs_person,
    )


async def _store(folder: Path) -> Standing:
    """A file lies where the page bodies belong."""
    async with RawServer({f"{WELL}/": reply()}) as server:
        with phase_home(folder, _at(server)) as home:
            keys = home.take_in([WELL])
            (folder / "store").mkdir()
            (folder / "store" / "bodies").touch()
            (*_, ended) = await home.run(SCRAPING, keys)
            assert isinstance(ended, PassEnded)
            assert ended.stopped_by is not None
            assert ended.stopped_by.kind is KIND.STORE
            return home.standing(SCRAPING, WELL)


async def _cancelled(folder: Path) -> Standing:
    """The time of the run is over before the second domain is begun."""
    script = {"a.example/robots.txt": hang, "a.example/": reply()}
    async with RawServer(script) as server:
        with phase_home(folder, _at(server, concurrency=1)) as home:
            await home.run(SCRAPING, home.take_in(["a.example", WELL]), phase_timeout=0.2)
            assert not any(request.host == WELL for request in server.requests)
            return home.standing(SCRAPING, WELL)


async def _lease_lost(folder: Path) -> Standing:
    """Somebody declares the worker dead while its domain is in hand."""
    async with RawServer({"*": hang}) as server:
        with phase_home(folder, _at(server, read_timeout=20), lease=3.0) as home:
            running = asyncio.ensure_future(home.run(SCRAPING, home.take_in([WELL])))
            while not server.requests:
                await asyncio.sleep(0.01)
            # A beat at the very same moment saves it.
            while not home.ledger.work.history(WELL):
                home.ledger.workers.bury_dead(home.platform.clock.now() + 3_600.0)
            with pytest.raises(LeaseLost):
                await asyncio.wait_for(running, 15)
            # That a worker died with it in hand is all that is known of it.
            told = [event["what"] for event in home.ledger.work.history(WELL)]
            assert told == ["worker_died"]
            return home.standing(SCRAPING, WELL)


def _pdl(**settings: object) -> dict[str, object]:
    own = ProviderSettings.model_validate({"api_key": "key", **settings})
    return {"chain": ("pdl",), "providers": ProvidersSettings(pdl=own)}


def _asking(answer: Step, *domains: str) -> Produce:
    """A run in which the provider answers the same to all."""

    async def produce(folder: Path) -> Standing:
        async with RawServer({"*": answer}) as server:
            with phase_home(folder, _at(server), **_pdl()) as home:
                await home.run(ENRICHMENT, home.take_in(list(domains)))
                assert len(server.requests) == 1
                return home.standing(ENRICHMENT, domains[0], "pdl")

    return produce


async def _budget_exhausted(folder: Path) -> Standing:
    async with RawServer({}) as server:
        with phase_home(folder, _at(server), max_credits=0.0, **_pdl()) as home:
            await home.run(ENRICHMENT, home.take_in([WELL]))
            assert server.requests == []
            return home.standing(ENRICHMENT, WELL, "pdl")


async def _limiter(folder: Path) -> Standing:
    """The provider asks one run for an hour; the next one has other domains for it."""
    answer = reply(b"", "429 Too Many Requests", retry_after="3600")
    async with RawServer({"*": answer}) as server:
        with phase_home(folder, _at(server), **_pdl()) as home:
            await home.run(ENRICHMENT, home.take_in(["a.example"], "one"))
            assert home.standing(ENRICHMENT, "a.example", "pdl").kind is KIND.RATE_LIMITED
            await home.run(ENRICHMENT, home.take_in([WELL], "two"))
            assert len(server.requests) == 1
            return home.standing(ENRICHMENT, WELL, "pdl")


PRODUCED: Mapping[FailureKind, Produce] = {
    KIND.TLS_CERTIFICATE: _bad_certificate,
    KIND.LOCAL_NETWORK: _local_network,
    KIND.BREAKER_OPEN: _breaker_open,
    KIND.STORE: _store,
    KIND.CANCELLED: _cancelled,
    KIND.LEASE_LOST: _lease_lost,
    KIND.AUTH: _asking(reply(b"{}", "401 Unauthorized"), WELL),
    KIND.QUOTA_EXHAUSTED: _asking(reply(b"{}", "402 Payment Required"), WELL),
    # The address of bulk calls is not there: a mistake of ours, by which no domain is settled.
    KIND.BUG: _asking(reply(b"{}", "404 Not Found"), WELL, "b.example"),
    KIND.BUDGET_EXHAUSTED: _budget_exhausted,
    KIND.LIMITER: _limiter,
}
"""Those that need a run of their own."""


@pytest.fixture(scope="module")
def standings(tmp_path_factory: pytest.TempPathFactory) -> dict[FailureKind, Standing]:
    """Where the domains stand after the two runs over many sites."""
    sites = asyncio.run(_scrape_sites(tmp_path_factory.mktemp("sites")))
    return sites | asyncio.run(_scrape_names(tmp_path_factory.mktemp("names")))


def test_each_kind_has_a_row_here_and_somebody_who_produces_it() -> None:
    assert set(TABLE) == set(FailureKind)
    assert {*PAGES, *NAMES, *PRODUCED} == set(FailureKind)


@pytest.mark.parametrize("kind", FailureKind)
def test_the_table_of_the_code_says_the_same(kind: FailureKind) -> None:
    rule, row = RULES[kind], TABLE[kind]
    assert rule.state == row.state
    assert rule.uses_a_round is row.is_round
    assert rule.counts_for_breaker is row.is_counted
    assert rule.needs_person is row.needs_person
    assert (rule.handling is not Handling.SETTLE and not rule.needs_person) is row.is_tried_again


@pytest.mark.parametrize("kind", [*PAGES, *NAMES])
def test_a_site_that_fails_ends_as_the_table_says(
    standings: Mapping[FailureKind, Standing], kind: FailureKind
) -> None:
    _check(kind, standings[kind])


@pytest.mark.parametrize("kind", PRODUCED)
def test_a_run_that_fails_ends_as_the_table_says(kind: FailureKind, tmp_path: Path) -> None:
    found = asyncio.run(PRODUCED[kind](tmp_path))
    if kind is KIND.LEASE_LOST:
        assert found == Standing("pending", None, 0, False, True, False)
    else:
        _check(kind, found)


@pytest.mark.parametrize("kind", [KIND.TIMEOUT, KIND.CONNECT, KIND.HTTP_5XX, KIND.RATE_LIMITED])
def test_a_required_provider_that_fails_does_the_same(kind: FailureKind, tmp_path: Path) -> None:
    _check(kind, asyncio.run(_asking(PAGES[kind], WELL)(tmp_path)))


@pytest.mark.parametrize("answer", [reply(b'{"status": 200, "na'), reply(b"[]"), reply(b"")])
def test_an_answer_that_cannot_be_understood_counts_as_one(answer: bytes, tmp_path: Path) -> None:
    """It was paid for, and would be the same again."""
    found = asyncio.run(_asking(answer, WELL)(tmp_path))
    assert found == Standing("not_found", None, 0, False, False, False)


def _check(kind: FailureKind, found: Standing) -> None:
    row = TABLE[kind]
    assert found.kind is kind
    assert found.state == row.state
    assert found.rounds == int(row.is_round)
    assert found.is_counted is row.is_counted
    assert found.is_tried_again is row.is_tried_again
    assert found.needs_person is row.needs_person
