"""What we ask a hostile server for: a page, a robots.txt, a sitemap, an answer of a provider."""

from __future__ import annotations

from pathlib import Path
from random import Random

from resources.adapters.classify import classify
from resources.adapters.connector import guarded_client, guarded_session
from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.providers.rdap import Rdap
from resources.adapters.robots import Robots
from resources.adapters.sitemaps import Sitemaps
from resources.core.config import FetchSettings
from resources.core.errors import CallError, FailureKind
from resources.core.models import CompanyQuery
from tests.support.attacks import InnerResolver
from tests.support.gates import gate_on, permitted
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import ManualClock, ManualSleep

FILES = ("page", "robots.txt", "sitemap")


async def _may_ask(_url: str) -> float:
    return 0.0


async def ask_site(what: str, port: int, folder: Path) -> FailureKind | None:
    """How it ended; None where the answer was taken, or as much of it as is ever taken."""
    settings = _settings(port)
    clock = ManualClock()
    sleep = ManualSleep(clock)
    ledger = open_at(sqlite_url(folder))
    commits = CommitQueue(ledger.database, 10)
    site = f"http://127.0.0.1:{port}"
    try:
        async with (
            guarded_session(settings, "x", InnerResolver()) as session,
            gate_on(ledger, clock=clock, sleep=sleep) as gate,
        ):
            fetcher = Fetcher(session, gate, settings, clock, Random(7), sleep)
            if what == "robots.txt":
                robots = Robots(fetcher, ledger, commits, clock, ttl_s=100)
                (await robots.rules(f"{site}/")).may_fetch(f"{site}/about")
            elif what == "page":
                response = await fetcher.fetch(f"{site}/")
                response.body(settings.max_body_bytes)
            else:
                found = await Sitemaps(fetcher).pages("127.0.0.1", f"{site}/", (), _may_ask)
                return found.failures[0].kind if found.failures else None
    except CallError as error:
        return error.failure.kind
    finally:
        commits.close()
        ledger.close()
    return None


async def ask_provider(port: int) -> FailureKind | None:
    """How a question to a provider ended; None where its answer was taken."""
    settings = _settings(port)
    async with guarded_session(settings, "x", InnerResolver()) as session:
        client = guarded_client(settings, session)
        provider = Rdap(client, clock=ManualClock(), base_url=f"http://127.0.0.1:{port}")
        try:
            with permitted():
                await provider.ask([CompanyQuery("acme.example")])
        except CallError as error:
            return error.failure.kind
        except Exception as error:  # noqa: BLE001  # what the gate does with whatever is raised
            return classify(error).kind
    return None


def _settings(port: int) -> FetchSettings:
    return FetchSettings(
        allow_networks=("127.0.0.1/32",),
        ports=(port, 80),
        attempts=1,
        read_timeout=0.5,
        total_timeout=3,
        control_names=(),
    )
