"""Lists that overlap, commands at once, and files that somebody removed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.dagster_view import partitions, statuses
from tests.support.processes import Sandbox, pipeline, sandbox, started_pipeline, write_list

SHARED = "shared.example"
QUICK = {
    "PIPELINE_MAX_RETRIES": "0",
    "PIPELINE_RETRY_BACKOFF_BASE": "0.05",
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.05",
}
FAULT = f'[[fault]]\nhost = "*{SHARED}"\nkind = "status"\nstatus = 503\n'


@pytest.fixture(scope="module")
def internet():
    with sandbox() as one:
        yield one


def _run(internet: Sandbox, source: Path, home: Path, **settings: str):
    arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
    return pipeline(*arguments, home=home, **{**QUICK, **settings})


def _directory(summary: dict) -> dict[str, dict[str, str]]:
    with open(summary["outputs"]["csv"], encoding="utf-8-sig", newline="") as lines:
        return {row["domain"]: row for row in csv.DictReader(lines)}


def test_a_domain_of_two_lists_is_bought_once_and_shown_as_it_is_now(
    tmp_path: Path, internet: Sandbox
) -> None:
    home = tmp_path / "home"
    one = write_list(tmp_path / "one.csv", ["only-one.example", SHARED])
    two = write_list(tmp_path / "two.csv", [SHARED, "only-two.example"])
    internet.set_faults(FAULT)
    internet.reset()
    first = _run(internet, one, home)
    assert first.code == 1
    assert _directory(first.json)[SHARED]["state"] == "waiting"
    internet.set_faults("preset=none")
    second = _run(internet, two, home)
    assert second.code == 0
    shown = _directory(second.json)
    assert set(shown) == {"only-one.example", "only-two.example", SHARED}
    assert shown[SHARED]["state"] == "succeeded"
    assert internet.calls()["calls"]["pdl"][SHARED] == 1
    state = home / "sandbox"
    profiles = statuses(state, "company_profiles", partitions(state))
    assert set(profiles.values()) == {"MATERIALIZED"}


def test_profiles_that_somebody_removed_are_written_again(
    tmp_path: Path, internet: Sandbox
) -> None:
    home = tmp_path / "home"
    source = write_list(tmp_path / "list.csv", [f"company-{n}.example" for n in range(4)])
    assert _run(internet, source, home).code == 0
    removed = home / "sandbox" / "store" / "company_profiles" / "list-00001.parquet"
    removed.unlink()
    exported = pipeline("export", "out.csv", "--sandbox", home=home)
    assert exported.code == 1
    assert str(removed) in exported.err
    assert "Traceback" not in exported.err
    again = _run(internet, source, home)
    assert again.code == 0
    assert again.json["pages"] == 0
    assert removed.exists()


def test_two_first_commands_at_once_share_the_work(tmp_path: Path, internet: Sandbox) -> None:
    home = tmp_path / "home"
    source = write_list(tmp_path / "list.csv", [f"company-{n:02}.example" for n in range(40)])
    internet.reset()
    arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
    with (
        started_pipeline(*arguments, home=home, **QUICK) as one,
        started_pipeline(*arguments, home=home, **QUICK) as two,
    ):
        said = [process.communicate(timeout=120) for process in (one, two)]
    assert not any("Traceback" in err for _, err in said), said
    assert _run(internet, source, home).code == 0
    asked = internet.calls()["calls"]["pdl"]
    assert set(asked.values()) == {1}
    state = home / "sandbox"
    for asset in ("enriched_companies", "scraped_pages", "company_profiles"):
        assert set(statuses(state, asset, partitions(state)).values()) == {"MATERIALIZED"}
