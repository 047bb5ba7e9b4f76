"""Nothing is sent without a permit, and each request of a phase has that of its own endpoint."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from sqlalchemy import select

from resources.adapters.api_client import ApiClient
from resources.adapters.classify import classify
from resources.adapters.connector import guarded_client, guarded_session
from resources.adapters.ledger.schema import breakers
from resources.adapters.permit import (
    Endpoint,
    Permit,
    UnpermittedCallError,
    current_permit,
    holding,
)
from resources.core.batch_runner import PassEnded
from resources.core.config import FetchSettings, Settings
from resources.core.errors import FailureKind
from resources.core.models import Phase
from resources.core.sliding_counts import SlidingCounts
from resources.platform import Platform
from tests.support.gates import open_gate
from tests.support.ledgers import add_list
from tests.support.raw_server import RawServer, Request, Step, redirect, reply

# -- the session --------------------------------------------------------------------------------


@asynccontextmanager
async def _clients(server: RawServer) -> AsyncIterator[Mapping[str, object]]:
    settings = FetchSettings(connect_to=server.address, allow_networks=("127.0.0.0/8",))
    async with guarded_session(settings, "x") as session:
        yield {"session": session, "client": guarded_client(settings, session)}


async def _get(client: object, url: str = "http://a.example/") -> int:
    if isinstance(client, ApiClient):
        return (await client.get(url)).status
    assert isinstance(client, aiohttp.ClientSession)
    async with client.get(url) as answer:
        return answer.status


def _run(play: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(play, 60))


@pytest.mark.parametrize("which", ["session", "client"])
def test_without_a_permit_no_connection_is_opened(which: str) -> None:
    async def play() -> None:
        async with RawServer({"*": reply()}) as server, _clients(server) as clients:
            with pytest.raises(UnpermittedCallError, match=r"use CallGate\.call") as caught:
                await _get(clients[which])
            assert classify(caught.value).kind is FailureKind.BUG  # a mistake of ours
            assert server.connections == 0
            with holding(Permit(Endpoint("test"))):
                assert await _get(clients[which]) == 200
            assert server.connections == 1

    _run(play())


@pytest.mark.parametrize("which", ["session", "client"])
def test_a_task_that_outlives_its_call_sends_nothing_under_the_old_permit(which: str) -> None:
    async def play() -> None:
        ended = asyncio.Event()

        async def later(client: object) -> int:
            await ended.wait()
            return await _get(client)

        async with RawServer({"*": reply()}) as server, _clients(server) as clients:
            async with open_gate() as gate, gate.call(Endpoint("test")):
                task = asyncio.ensure_future(later(clients[which]))
                await asyncio.sleep(0)
            ended.set()
            with pytest.raises(UnpermittedCallError):
                await task
            assert server.connections == 0

    _run(play())


def test_a_permit_is_that_of_the_call_alone() -> None:
    async def play() -> None:
        async with open_gate() as gate:
            assert current_permit() is None
            async with gate.call(Endpoint("one")) as permit:
                assert current_permit() is permit
                async with gate.call(Endpoint("two")) as inner:
                    assert current_permit() is inner
                assert current_permit() is permit
            assert current_permit() is None

    _run(play())


@pytest.mark.parametrize("which", ["session", "client"])
@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ({}, 0),
        ({"ports": (80, 443, 8080)}, 0),
        ({"allow_networks": ("10.0.0.0/8",)}, 0),
        ({"connect_to": True}, 0),
        ({"allow_networks": ("127.0.0.0/8",), "ports": True}, 1),
    ],
)
def test_the_guard_is_on_whatever_the_settings_and_the_permit(
    which: str, values: Mapping[str, object], reached: int
) -> None:
    async def play() -> None:
        async with RawServer({"*": reply()}) as server:
            chosen = dict(values)
            if "connect_to" in chosen:
                chosen["connect_to"] = server.address
            if chosen.get("ports") is True:
                chosen["ports"] = (server.port,)
            settings = FetchSettings.model_validate(chosen)
            async with guarded_session(settings, "x") as session:
                client = session if which == "session" else guarded_client(settings, session)
                with holding(Permit(Endpoint("test"))):
                    if reached:
                        assert await _get(client, f"http://{server.address}/") == 200
                    else:
                        with pytest.raises((OSError, aiohttp.ClientError)) as caught:
                            await _get(client, f"http://{server.address}/")
                        assert classify(caught.value).kind is FailureKind.BLOCKED_ADDRESS
            assert server.connections == reached

    _run(play())


# -- whole phases -------------------------------------------------------------------------------

DOMAIN = "acme.example"
BOOTSTRAP = {"services": [[["example"], ["https://rdap.nic.example/"]]]}
INTERNET: Mapping[str, Step] = {
    "data.iana.org/rdap/dns.json": reply(orjson.dumps(BOOTSTRAP)),
    f"rdap.nic.example/domain/{DOMAIN}": redirect("https://rdap.registrar.example/x"),
    "rdap.registrar.example/x": reply(b"{}", "404 Not Found"),
    f"{DOMAIN}/robots.txt": reply(b"", "404 Not Found"),
    f"{DOMAIN}/": redirect(f"https://www.{DOMAIN}/"),
    f"www.{DOMAIN}/robots.txt": reply(b"", "404 Not Found"),
    f"www.{DOMAIN}/": reply(b'<html><title>Acme</title><a href="/about">About us</a></html>'),
    f"www.{DOMAIN}/about": reply(b"<html><title>About</title>We are Acme.</html>"),
}
PROVIDER_HOSTS = {"api.peopledatalabs.com", "query.wikidata.org", "data.iana.org"}
REGISTRY_HOSTS = {"rdap.nic.example", "rdap.registrar.example"}
DOWN = reply(b"", "503 Service Unavailable")


def _internet(down: str) -> Mapping[str, Step]:
    """All that is asked for, with one host or one page of it away."""

    async def rest(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(DOWN if request.host == down else reply(b"{}", "404 Not Found"))

    def is_down(name: str) -> bool:
        return name == down or name.partition("/")[0] == down

    return {name: DOWN if is_down(name) else step for name, step in INTERNET.items()} | {"*": rest}


def _play_phase(home: Path, phase: Phase, down: str) -> tuple[Counter[str], set[str]]:
    """Run a phase on one domain. Returns failed calls by endpoint, and the hosts asked."""

    async def play() -> tuple[Counter[str], set[str]]:
        async with RawServer(_internet(down)) as server:
            fetch = {"connect_to": server.address, "allow_networks": "127.0.0.0/8", "attempts": 1}
            values = {"fetch": fetch, "providers": {"pdl": {"api_key": "k3y-of-nobody"}}}
            settings = Settings.model_validate({"home": home, **values})
            # `run_phase` has a loop of its own.
            failures = await asyncio.to_thread(_failures_by_endpoint, settings, phase)
            return failures, {request.host for request in server.requests}

    return asyncio.run(asyncio.wait_for(play(), 60))


def _failures_by_endpoint(settings: Settings, phase: Phase) -> Counter[str]:
    platform = Platform.open(settings)
    try:
        add_list(platform.ledger, "a", [DOMAIN], now=platform.clock.now())
        events = list(platform.run_phase(phase, ["a-00001"], run_id="run", scope="scope"))
        assert isinstance(events[-1], PassEnded)
        with platform.ledger.database.read() as connection:
            rows = connection.execute(select(breakers.c.endpoint, breakers.c.window)).all()
    finally:
        platform.close()
    counts = {
        endpoint: sum(
            slot.failures
            for slot in SlidingCounts.from_text(settings.circuit_breaker_window, window).slots
        )
        for endpoint, window in rows
    }
    return Counter({endpoint: failures for endpoint, failures in counts.items() if failures})


ENRICHMENT, SCRAPING = Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING


@pytest.mark.parametrize(
    ("phase", "down", "endpoint"),
    [
        (ENRICHMENT, "api.peopledatalabs.com", "pdl"),
        (ENRICHMENT, "query.wikidata.org", "wikidata"),
        (ENRICHMENT, "data.iana.org", "rdap/bootstrap"),
        (ENRICHMENT, "rdap.nic.example", "rdap/rdap.nic.example"),
        # Whoever is asked answers for where it sends us.
        (ENRICHMENT, "rdap.registrar.example", "rdap/rdap.nic.example"),
        (SCRAPING, f"{DOMAIN}/robots.txt", f"site/{DOMAIN}"),
        (SCRAPING, f"{DOMAIN}/", f"site/{DOMAIN}"),
        (SCRAPING, f"www.{DOMAIN}/robots.txt", f"site/www.{DOMAIN}"),
        (SCRAPING, f"www.{DOMAIN}/", f"site/www.{DOMAIN}"),
        (SCRAPING, f"www.{DOMAIN}/about", f"site/www.{DOMAIN}"),
    ],
)
def test_each_request_of_a_phase_counts_for_its_own_endpoint_and_for_no_other(
    tmp_path: Path, phase: Phase, down: str, endpoint: str
) -> None:
    failures, asked = _play_phase(tmp_path, phase, down)
    assert down.partition("/")[0] in asked
    assert dict(failures) == {endpoint: 1}


@pytest.mark.parametrize(
    ("phase", "hosts"),
    [
        (ENRICHMENT, PROVIDER_HOSTS | REGISTRY_HOSTS),
        (SCRAPING, {DOMAIN, f"www.{DOMAIN}"}),
    ],
)
def test_a_phase_whose_hosts_all_answer_has_asked_each_of_them_and_counted_no_failure(
    tmp_path: Path, phase: Phase, hosts: set[str]
) -> None:
    failures, asked = _play_phase(tmp_path, phase, down="nobody.example")
    assert asked == hosts
    assert not failures
