"""Domains that fail for longer than a run retries hold nobody else back."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from tests.support.dagster_view import partitions, statuses
from tests.support.processes import pipeline, sandbox, write_list

BAD = [f"broken-{number}.example" for number in range(3)]
GOOD = [f"sound-{number:02}.example" for number in range(47)]
QUICK = {
    "PIPELINE_RETRY_BACKOFF_BASE": "0.05",
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.05",
    "PIPELINE_MAX_RETRIES": "2",
}
FAULTS = "\n".join(f'[[fault]]\nhost = "{host}"\nkind = "status"\nstatus = 503\n' for host in BAD)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory):
    """Three of fifty answer 503; then the fault ends and the batch is run again."""
    folder = tmp_path_factory.mktemp("failing")
    source = write_list(folder / "fifty.csv", [*GOOD, *BAD])
    home = folder / "home"
    with sandbox() as internet:
        internet.set_faults(FAULTS)
        arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
        first = pipeline(*arguments, home=home, **QUICK)
        state = home / "sandbox"
        shown = statuses(state, "scraped_pages", partitions(state))
        profiles = statuses(state, "company_profiles", partitions(state))
        internet.set_faults("preset=none")
        internet.reset()
        second = pipeline(*arguments, home=home, **QUICK)
        yield {
            "first": first,
            "second": second,
            "shown": shown,
            "profiles": profiles,
            "shown_after": statuses(state, "scraped_pages", partitions(state)),
            "calls": internet.calls(),
        }


def test_the_partition_is_failed_while_three_domains_are_unsettled(story) -> None:
    assert story["first"].code == 1
    assert list(story["shown"].values()) == ["FAILED"]
    scraping = story["first"].json["phases"]["PAGE_SCRAPING"]
    assert scraping["waiting"] == 3
    assert scraping["kinds"]["http_5xx"] == 3


def test_the_others_are_kept_and_in_the_profiles(story) -> None:
    assert list(story["profiles"].values()) == ["MATERIALIZED"]
    first = story["first"].json
    assert first["phases"]["PROFILE_BUILD"]["waiting"] == 3
    rows = pq.read_table(first["outputs"]["parquet"]).to_pylist()
    assert len(rows) == 50


def test_after_the_fault_only_the_three_are_asked_for(story) -> None:
    assert story["second"].code == 0
    assert list(story["shown_after"].values()) == ["MATERIALIZED"]
    calls = story["calls"]
    asked = {host.removeprefix("www.") for host in (*calls["pages"], *calls["robots"])}
    assert asked == set(BAD)
    assert not any(calls["calls"].values())


def test_what_is_missing_was_said_in_plain_words(story) -> None:
    said = " ".join(story["first"].json["failures"])
    assert "3 of 50 domains are not settled yet" in said
    assert "3 http_5xx" in said
    assert "The other 47 are kept" in said
