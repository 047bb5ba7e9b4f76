"""A backfill of 40 batches from the browser, with one batch that cannot settle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dagster_servers import Web, dagster_servers
from tests.support.dagster_view import materialized, partitions, statuses
from tests.support.processes import Sandbox, pipeline, sandbox, write_list

BATCHES, SIZE = 40, 3
DOMAINS = [f"company-{number:03}.example" for number in range(BATCHES * SIZE)]
BAD_BATCH = 17
BAD = DOMAINS[(BAD_BATCH - 1) * SIZE]
PHASES = ("enriched_companies", "scraped_pages")
ASSETS = (*PHASES, "company_profiles")
QUICK = {
    "PIPELINE_RETRY_BACKOFF_BASE": "0.05",
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.05",
    "PIPELINE_MAX_RETRIES": "1",
    # What the browser asks for is looked at here, and not what heals it afterwards.
    "PIPELINE_ENABLE_AUTO_RECOVERY": "false",
}
FAULT = f"""
[[fault]]
host = "{BAD}"
kind = "status"
status = 503

[[fault]]
host = "www.{BAD}"
kind = "status"
status = 503
"""


@pytest.fixture(scope="module")
def internet():
    with sandbox() as one:
        yield one


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, internet: Sandbox) -> Path:
    """A home in which the list is taken in and nothing is worked on yet."""
    folder = tmp_path_factory.mktemp("backfill")
    source = write_list(folder / "forty.csv", DOMAINS)
    arguments = ("--sandbox-url", internet.url, "--only", "PROFILE_BUILD", "--batch-size", "3")
    taken_in = pipeline("run", str(source), *arguments, "--json", home=folder / "home")
    assert taken_in.json["batches"] == {"total": BATCHES, "settled": 0, "unsettled": BATCHES}
    return folder / "home" / "sandbox"


@pytest.fixture(scope="module")
def web(home: Path, internet: Sandbox):
    with dagster_servers(home, **internet.settings, **QUICK) as one:
        yield one


@pytest.fixture(scope="module")
def first(web: Web, home: Path, internet: Sandbox) -> dict[str, dict[str, str | None]]:
    """What Dagster shows after the first backfill."""
    internet.set_faults(FAULT)
    keys = partitions(home)
    web.wait_for(web.backfill(ASSETS, keys))
    return {asset: statuses(home, asset, keys) for asset in ASSETS}


def _bad_key(home: Path) -> str:
    return partitions(home)[BAD_BATCH - 1]


def test_all_but_the_bad_batch_are_materialised(first, home: Path) -> None:
    bad = _bad_key(home)
    assert set(first["enriched_companies"].values()) == {"MATERIALIZED"}
    scraped = dict(first["scraped_pages"])
    assert scraped.pop(bad) == "FAILED"
    assert set(scraped.values()) == {"MATERIALIZED"}


def test_the_bad_batch_costs_no_other_batch_its_profiles(first, home: Path) -> None:
    profiles = dict(first["company_profiles"])
    assert profiles.pop(_bad_key(home)) is None
    assert set(profiles.values()) == {"MATERIALIZED"}


def test_checks_are_seen_per_partition(first, web: Web, home: Path) -> None:
    assert first
    found = web.ask(
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
             assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
               ... on AssetCheckDefaultPartitionStatuses {
                 succeededPartitions failedPartitions } } } } } } } }""",
        {"key": {"path": ["scraped_pages"]}},
    )
    checks = found["assetNodeOrError"]["assetChecksOrError"]["checks"]
    settled = next(check for check in checks if check["name"] == "settled")["partitionStatuses"]
    assert len(settled["succeededPartitions"]) == BATCHES - 1
    assert settled["failedPartitions"] == [_bad_key(home)]


def test_failed_and_missing_only_runs_just_those(
    first, web: Web, home: Path, internet: Sandbox
) -> None:
    internet.set_faults("preset=none")
    internet.reset()
    before = {asset: len(materialized(home, asset)) for asset in ASSETS}
    wanted = {
        key
        for asset in ASSETS
        for key, status in first[asset].items()
        if status in {None, "FAILED"}
    }
    assert wanted == {_bad_key(home)}
    # The browser offers this for the assets that have something failed or missing.
    web.wait_for(web.backfill(("scraped_pages", "company_profiles"), sorted(wanted)))
    keys = partitions(home)
    for asset in ASSETS:
        assert set(statuses(home, asset, keys).values()) == {"MATERIALIZED"}
    after = {asset: len(materialized(home, asset)) for asset in ASSETS}
    grown = {asset: after[asset] - before[asset] for asset in ASSETS}
    assert grown == {"enriched_companies": 0, "scraped_pages": 1, "company_profiles": 1}
    calls = internet.calls()
    assert {host.removeprefix("www.") for host in calls["pages"]} == {BAD}
    assert not any(calls["calls"].values())
