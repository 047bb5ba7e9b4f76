"""Hostile robots.txt files, sitemaps and redirects: bounded like pages, and no way inside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from resources.core.errors import FailureKind
from tests.support.attacked import FILES, ask_site
from tests.support.attacks import (
    Meter,
    attacker,
    bombs,
    breaks,
    floods,
    redirects,
)
from tests.support.raw_server import Step

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


def _attacked_by(step: Step, what: str, folder: Path) -> tuple[FailureKind | None, int]:
    with attacker({"*": step}) as server, Meter() as meter:
        outcome = asyncio.run(ask_site(what, server.port, folder))
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


@pytest.mark.parametrize("what", FILES)
@_all(redirects())
def test_no_redirect_of_a_site_leads_inside(tmp_path: Path, step: Step, what: str) -> None:
    outcome, requests = _attacked_by(step, what, tmp_path)
    # A circle before a robots.txt means that there is none, as RFC 9309 says.
    is_circle = b"circle" in step if isinstance(step, bytes) else False
    assert outcome in _REFUSED or (is_circle and what == "robots.txt")
    assert requests == (2 if is_circle else 1)
