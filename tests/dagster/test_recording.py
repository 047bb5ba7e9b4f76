"""What Dagster shows after runs over several partitions; catches each trap of adr/0002.

Runs the real definitions in this process, on a real instance, against a real sandbox.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRun,
    RunsFilter,
)

from pipeline_assets.dagster_records import Upstream
from pipeline_assets.definitions import build_definitions
from pipeline_assets.instance import Runs, open_instance
from resources.core.config import load_settings
from resources.core.models import Phase
from resources.phase_run import CODE_VERSIONS
from tests.support.dagster_view import statuses
from tests.support.processes import Sandbox, pipeline, sandbox, write_list

DOMAINS = [f"company-{number:02}.example" for number in range(12)]
BAD = DOMAINS[4]
KEYS = [f"twelve-{number:05}" for number in range(1, 5)]
BAD_KEY = KEYS[1]
FAULT = f"""
[[fault]]
host = "*{BAD}"
kind = "status"
status = 503
"""
SETTINGS = {
    "PIPELINE_RETRY_BACKOFF_BASE": "0.05",
    "PIPELINE_MAX_RETRIES": "1",
    # A site that fails often is paused; here it is asked again at once.
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.05",
}
CODE_OF = {
    "enriched_companies": CODE_VERSIONS[Phase.COMPANY_ENRICHMENT],
    "scraped_pages": CODE_VERSIONS[Phase.PAGE_SCRAPING],
}


@dataclass(frozen=True)
class Story:
    """A range of four partitions, run twice with one bad domain, and once without."""

    home: Path
    instance: DagsterInstance
    internet: Sandbox
    failures: list[str | None]
    shown: list[dict[str, str | None]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("recording")
    source = write_list(folder / "twelve.csv", DOMAINS)
    with sandbox() as internet, pytest.MonkeyPatch.context() as environment:
        arguments = ("--sandbox-url", internet.url, "--only", "PROFILE_BUILD", "--batch-size", "3")
        pipeline("run", str(source), *arguments, home=folder / "home")
        home = folder / "home" / "sandbox"
        for name, value in {**internet.settings, **SETTINGS}.items():
            environment.setenv(name, value)
        environment.setenv("PIPELINE_HOME", str(home))
        with open_instance(load_settings()) as instance:
            runs = Runs(instance, build_definitions())
            internet.set_faults(FAULT)
            failures, shown = [], []
            for faults in (None, None, "preset=none"):
                if faults:
                    internet.set_faults(faults)
                failures.append(runs.run_range("scrape_pages", KEYS[0], KEYS[-1], {}))
                shown.append(statuses(home, "scraped_pages", KEYS))
            environment.setenv("PIPELINE_HOME", str(home))
            yield Story(home, instance, internet, failures, shown)


def _records(story: Story, asset: str = "scraped_pages"):
    found = story.instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey(asset)), limit=1000, ascending=True
    )
    return found.records


def test_a_run_with_one_unsettled_domain_fails_that_partition_alone(story: Story) -> None:
    assert story.shown[0] == {key: "FAILED" if key == BAD_KEY else "MATERIALIZED" for key in KEYS}
    assert "1 of 3 domains are not settled yet: 1 http_5xx" in str(story.failures[0])


def test_a_later_failing_run_takes_nothing_back(story: Story) -> None:
    assert story.failures[1] is not None
    assert story.shown[1] == story.shown[0]


def test_once_the_fault_is_gone_the_whole_range_is_materialised(story: Story) -> None:
    assert story.failures[2] is None
    assert set(story.shown[2].values()) == {"MATERIALIZED"}


def test_each_partition_is_logged_once_a_run_with_its_own_version(story: Story) -> None:
    records = _records(story)
    per_run = Counter((record.run_id, record.partition_key) for record in records)
    assert set(per_run.values()) == {1}
    assert {key for _, key in per_run} == set(KEYS)
    last = {r.partition_key: r.asset_materialization.tags["dagster/data_version"] for r in records}
    assert len(set(last.values())) == len(KEYS)


def test_logging_a_settled_partition_again_keeps_its_version(story: Story) -> None:
    versions: dict[str, set[str]] = {}
    for record in _records(story):
        tags = record.asset_materialization.tags
        versions.setdefault(str(record.partition_key), set()).add(tags["dagster/data_version"])
    assert {len(found) for found in versions.values()} == {1}


def test_materialisations_carry_the_four_tags_of_staleness(story: Story) -> None:
    manifests = {r.partition_key: r for r in _records(story, "domain_batches")}
    for record in _records(story):
        tags = record.asset_materialization.tags
        upstream = manifests[record.partition_key]
        assert tags["dagster/code_version"] == CODE_OF.get(record.asset_key.to_user_string(), "1")
        assert tags["dagster/input_event_pointer/domain_batches"] == str(upstream.storage_id)
        version = upstream.asset_materialization.tags["dagster/data_version"]
        assert tags["dagster/input_data_version/domain_batches"] == version


def test_metadata_says_what_people_look_for(story: Story) -> None:
    metadata = _records(story)[-1].asset_materialization.metadata
    assert metadata["domains"].value == 3
    assert sum(metadata["states"].value.values()) == 3
    assert {"kinds", "seconds", "credits", "preview", "artifact", "fill_rates"} <= set(metadata)
    names = [column.name for column in metadata["dagster/column_schema"].value.columns]
    assert names[0] == "domain"
    assert Path(metadata["artifact"].value).exists()


def test_the_first_runs_tried_again_within_the_run(story: Story) -> None:
    run = story.instance.get_runs(RunsFilter(job_name="scrape_pages"))[-1]
    events = story.instance.all_logs(run.run_id)
    retried = [e for e in events if e.is_dagster_event and e.dagster_event.is_step_restarted]
    assert len(retried) == int(SETTINGS["PIPELINE_MAX_RETRIES"])
    said = [e.user_message for e in events]
    assert any("Processing batch 1/4 (3 domains)" in message for message in said)


def _shown_failure(story: Story, run: DagsterRun) -> Any:
    events = [e.dagster_event for e in story.instance.all_logs(run.run_id) if e.is_dagster_event]
    (failed,) = [event for event in events if event and event.is_step_failure]
    return failed.step_failure_data


def test_a_failed_run_shows_counts_and_an_example_of_each_reason(story: Story) -> None:
    run = story.instance.get_runs(RunsFilter(job_name="scrape_pages"))[-1]
    shown = _shown_failure(story, run).user_failure_data
    assert shown is not None
    assert f"The newest http_5xx is {BAD} (batch {BAD_KEY}, after round 2, " in shown.description
    assert shown.metadata["phase"].value == "PAGE_SCRAPING"
    assert shown.metadata["by_kind"].value == {"http_5xx": 1}
    (record,) = shown.metadata["examples"].value.records
    assert (record.data["domain"], record.data["batch"]) == (BAD, BAD_KEY)
    assert (record.data["kind"], record.data["round"]) == ("http_5xx", 2)
    assert BAD in record.data["url"]
    assert "HTTP 503" in record.data["message"]
    assert shown.metadata["cause"].value.startswith("PipelinePhaseError: PAGE_SCRAPING: 1 of 3")


def test_upstream_of_an_asset_without_records_is_empty(story: Story) -> None:
    upstream = Upstream(story.instance, ["company_profiles"], KEYS[:1])
    tags = upstream.tags(KEYS[0], data_version="x", code_version="1")
    assert not [name for name in tags if "input" in name]


def test_a_run_left_by_a_killed_process_is_closed(story: Story) -> None:
    tags = {"pipeline/process": f"{socket.gethostname()}/another boot/1/0.0"}
    job = build_definitions().resolve_job_def("write_directory")
    run = story.instance.create_run_for_job(job, tags=tags)
    runs = Runs(story.instance, build_definitions())
    assert runs.reap() == [run.run_id]
    assert story.instance.get_run_by_id(run.run_id).status.value == "FAILURE"
    assert runs.reap() == []


def test_a_run_that_was_being_cancelled_when_its_process_was_killed_stays_cancelled(
    story: Story,
) -> None:
    tags = {"pipeline/process": f"{socket.gethostname()}/another boot/1/0.0"}
    job = build_definitions().resolve_job_def("write_directory")
    run = story.instance.create_run_for_job(job, tags=tags)
    story.instance.report_run_canceling(run)
    assert Runs(story.instance, build_definitions()).reap() == [run.run_id]
    assert story.instance.get_run_by_id(run.run_id).status.value == "CANCELED"


def test_checks_count_for_the_newest_materialisation_of_their_partition(story: Story) -> None:
    key = AssetCheckKey(AssetKey("scraped_pages"), "settled")
    infos = story.instance.event_log_storage.get_asset_check_partition_info([key])
    assert {info.partition_key for info in infos} == set(KEYS)
    assert all(info.is_current for info in infos)
