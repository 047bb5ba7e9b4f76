"""Hostile robots.txt files, sitemaps and redirects: bounded like pages, and no way inside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from resources.adapters.connector import guarded_session
from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.robots import Robots
from resources.adapters.sitemaps import Sitemaps
from resources.core.config import FetchSettings
from resources.core.errors import CallError, FailureKind
from tests.support.attacks import (
    InnerResolver,
    Meter,
    attacker,
    bombs,
    breaks,
    floods,
    redirects,
)
from tests.support.gates import gate_on
from tests.support.ledgers import open_at, sqlite_url
from tests.support.raw_server import Step
from tests.support.time import ManualClock, ManualSleep

MOST_CPU_S = 2.0
MOST_MEMORY_BYTES = 100_000_000
MOST_WALL_S = 12.0
_ENDS = {
    FailureKind.TOO_LARGE,
    FailureKind.MALFORMED,
    FailureKind.TIMEOUT,
    FailureKind.CONNECT,
}
_REFUSED = {FailureKind.BLOCKED_ADDRESS, FailureKind.MALFORMED}


async def _may_ask(_url: str) -> float:
    return 0.0


async def _ask(what: str, port: int, folder: Path) -> FailureKind | None:
    """How it ended; None where the answer was taken, or as much of it as is ever taken."""
    settings = FetchSettings(
        allow_networks=("127.0.0.1/32",),
        ports=(port, 80),
        attempts=1,
        read_timeout=0.5,
        total_timeout=3,
        control_names=(),
    )
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
                await fetcher.fetch(f"{site}/")
            else:
                found = await Sitemaps(fetcher).pages("127.0.0.1", f"{site}/", (), _may_ask)
                return found.failures[0].kind if found.failures else None
    except CallError as error:
        return error.failure.kind
    finally:
        commits.close()
        ledger.close()
    return None


def _attacked_by(step: Step, what: str, folder: Path) -> tuple[FailureKind | None, int]:
    with attacker({"*": step}) as server, Meter() as meter:
        outcome = asyncio.run(_ask(what, server.port, folder))
    assert meter.cost.cpu_s < MOST_CPU_S
    assert meter.cost.memory_bytes < MOST_MEMORY_BYTES
    assert meter.cost.wall_s < MOST_WALL_S
    return outcome, len(server.requests)


def _all(*attacks: Mapping[str, Step]) -> pytest.MarkDecorator:
    every = {name: step for group in attacks for name, step in group.items()}
    return pytest.mark.parametrize("step", every.values(), ids=every.keys())


@pytest.mark.parametrize("what", ["robots.txt", "sitemap"])
@_all(floods(), bombs(), breaks())
def test_no_file_of_a_site_costs_more_than_a_page(tmp_path: Path, step: Step, what: str) -> None:
    outcome, _ = _attacked_by(step, what, tmp_path)
    assert outcome is None or outcome in _ENDS


@pytest.mark.parametrize("what", ["page", "robots.txt", "sitemap"])
@_all(redirects())
def test_no_redirect_of_a_site_leads_inside(tmp_path: Path, step: Step, what: str) -> None:
    outcome, requests = _attacked_by(step, what, tmp_path)
    # A circle before a robots.txt means that there is none, as RFC 9309 says.
    is_circle = b"circle" in step if isinstance(step, bytes) else False
    assert outcome in _REFUSED or (is_circle and what == "robots.txt")
    assert requests == (2 if is_circle else 1)
