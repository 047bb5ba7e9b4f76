"""`pipeline status` says which calls are held back, why, and since when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.core.breaker import BreakerPolicy, Verdict
from resources.core.pacing import PaceLimits
from tests.cli.conftest import Pipeline
from tests.support.ledgers import open_at, sqlite_url

POLICY = BreakerPolicy(threshold=1, timeout_s=300.0)
SITES = [f"site/host-{number}.example" for number in range(7)]


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    home.mkdir()
    found = open_at(sqlite_url(home))
    yield found
    found.close()


def test_nothing_is_said_where_nothing_is_held_back(pipeline: Pipeline, ledger: Ledger) -> None:
    assert "Breaker" not in pipeline("status").out
    found = pipeline("status", "--json").json
    nothing = {"providers": [], "sites": {"paused": 0, "examples": []}, "changes": []}
    assert found["breakers"] == nothing
    assert found["paces"] == []


def test_a_provider_is_told_with_reason_time_and_what_comes_next(
    pipeline: Pipeline, ledger: Ledger
) -> None:
    began = time.time() - 900.0
    ledger.breakers.failed("pdl", "HTTP 503", 0, None, began, POLICY)
    _fail_probe(ledger, "pdl", began + 300.0)
    # After the failed probe it is paused twice as long: it is due to be tried again by now.
    shown = " ".join(pipeline("status").out.split())
    assert "Calls to pdl are paused until" in shown
    assert "the probe failed; HTTP 503" in shown
    assert "the next run makes this call" in shown
    assert "(for 15 min so far)" in shown
    (told,) = pipeline("status", "--json").json["breakers"]["providers"]
    assert told["endpoint"] == "pdl"
    assert told["status"] == "open"
    assert told["openings"] == 2
    assert told["since"] < told["retry_at"]


def test_sites_are_one_count_with_five_examples(pipeline: Pipeline, ledger: Ledger) -> None:
    for site in SITES:
        ledger.breakers.failed(site, "HTTP 503", 0, None, time.time(), POLICY)
    shown = pipeline("status").out
    assert "Calls to 7 sites are paused" in shown
    assert sum(site.removeprefix("site/") in shown for site in SITES) == 5
    told = pipeline("status", "--json").json["breakers"]
    assert told["providers"] == []
    assert told["sites"]["paused"] == 7
    assert len(told["sites"]["examples"]) == 5
    assert [change["new"] for change in told["changes"]] == ["open"] * 7


def test_a_provider_that_asked_for_a_pause_is_told(pipeline: Pipeline, ledger: Ledger) -> None:
    limits = PaceLimits(rate=10.0, burst=1.0, concurrency=1)
    said = "pdl answered with status 429."
    ledger.paces.slow_down("pdl", limits, 3_000.0, said, time.time())
    assert "pdl asked for a pause and is called again in 50 min" in pipeline("status").out
    (told,) = pipeline("status", "--json").json["paces"]
    assert told["reason"] == said
    assert told["calls_a_second"] == 5.0


def _fail_probe(ledger: Ledger, endpoint: str, at: float) -> None:
    assert ledger.breakers.take_probe(endpoint, "w", at, POLICY)[1]
    ledger.breakers.end_probe(endpoint, "w", Verdict.AWAY, "HTTP 503", at, POLICY)
