"""`pipeline run` on the first 1,000 rows of the real list, with sites made of real HTML."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.dagster_view import partitions, statuses
from tests.support.processes import Sandbox, pipeline, sandbox
from tests.support.requirements import shared_data

ROWS = 1_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("list") / "real.csv"
    with shared_data("domains.csv").open(encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, ROWS + 1)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def internet(source: Path):
    with sandbox("--corpus", str(shared_data("business_pages")), "--domains", str(source)) as one:
        yield one


@pytest.fixture(scope="module")
def home(source: Path) -> Path:
    return source.parent / "home"


@pytest.fixture(scope="module")
def first(source: Path, home: Path, internet: Sandbox):
    return pipeline("run", str(source), "--sandbox-url", internet.url, "--json", home=home)


def test_everything_is_settled_and_no_row_vanishes(first) -> None:
    assert first.code == 0, first.err
    summary = first.json
    assert summary["rows"] == ROWS
    assert sum(summary["domains"].values()) == ROWS
    assert summary["batches"]["unsettled"] == 0
    accepted = summary["domains"]["accepted"]
    for phase in summary["phases"].values():
        states = ("succeeded", "not_found", "refused", "quarantined", "waiting", "pending")
        assert sum(phase[state] for state in states) == accepted
        assert phase["waiting"] == phase["pending"] == 0


def test_dagster_shows_every_partition_materialised(first, home: Path) -> None:
    keys = partitions(home / "sandbox")
    assert len(keys) == first.json["batches"]["total"]
    for asset in ("domain_batches", "enriched_companies", "scraped_pages", "company_profiles"):
        assert set(statuses(home / "sandbox", asset, keys).values()) == {"MATERIALIZED"}


def test_the_directory_holds_each_company_once_with_its_sources(first) -> None:
    table = pq.read_table(first.json["outputs"]["parquet"])
    domains = table.column("domain").to_pylist()
    assert len(domains) == len(set(domains)) == first.json["domains"]["accepted"]
    rows = table.select(["name", "name_source"]).to_pylist()
    assert all(row["name_source"] for row in rows if row["name"])


def test_pages_were_fetched_politely(first, internet: Sandbox) -> None:
    assert first.code == 0
    calls = internet.calls()
    assert sum(calls.get("disallowed", {}).values()) == 0
    assert sum(calls["pages"].values()) >= first.json["pages"]


def test_the_same_command_again_calls_nobody(
    first, source: Path, home: Path, internet: Sandbox
) -> None:
    assert first.code == 0
    internet.reset()
    again = pipeline("run", str(source), "--sandbox-url", internet.url, "--json", home=home)
    assert again.code == 0
    assert again.json["pages"] == 0
    assert again.json["domains"] == first.json["domains"]
    calls = internet.calls()
    assert not any(calls["calls"].values())
    assert not any(calls[name] for name in ("pages", "robots", "sitemaps"))
