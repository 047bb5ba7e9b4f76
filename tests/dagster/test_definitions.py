"""The definitions as Dagster loads them, the schedule's tick, and failures as Dagster sees them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultScheduleStatus,
    Failure,
    RetryRequested,
    RunRequest,
    ScheduleDefinition,
    build_schedule_context,
)

from pipeline_assets.definitions import build_definitions
from pipeline_assets.failures import as_dagster, taken_over
from pipeline_assets.partitions import PHASE_PER_RUN, PROFILES_PER_RUN
from pipeline_assets.schedules import ALL, refresh_companies, refresh_pages
from resources.adapters.site_visit import CODE_VERSION
from resources.core.batches import batch_key
from resources.core.config import load_settings
from resources.core.errors import LeaseLost, PipelinePhaseError
from resources.core.models import Phase, Settled, State
from resources.core.rounds import RoundPolicy, after_attempt
from resources.ingest import read_list, take_in
from resources.platform import Platform
from tests.support.processes import write_list

ASSETS = {
    "domain_batches",
    "enriched_companies",
    "scraped_pages",
    "company_profiles",
    "company_directory",
}


def test_lineage_is_as_drawn() -> None:
    graph = build_definitions().resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }
    assert parents == {
        "domain_batches": set(),
        "enriched_companies": {"domain_batches"},
        "scraped_pages": {"domain_batches"},
        "company_profiles": {"enriched_companies", "scraped_pages"},
        "company_directory": {"company_profiles"},
    }


def test_every_asset_says_what_it_is() -> None:
    graph = build_definitions().resolve_asset_graph()
    for name in ASSETS:
        node = graph.get(AssetKey(name))
        assert node.description
        assert node.group_name != "default"
        assert node.kinds
        assert node.owners
        assert node.code_version


def test_profiles_take_another_number_of_batches_a_run_than_their_parents() -> None:
    assert PHASE_PER_RUN.max_partitions_per_run != PROFILES_PER_RUN.max_partitions_per_run


def test_no_asset_has_a_retry_policy_that_would_turn_a_cancel_into_another_try() -> None:
    definitions = build_definitions()
    for name in ASSETS:
        assert definitions.resolve_assets_def(AssetKey(name)).op.retry_policy is None
    lost = taken_over(LeaseLost("worker 1 was declared dead"))
    assert lost.allow_retries is False


def test_definitions_can_be_built_twice_with_other_resources() -> None:
    assert build_definitions() is not build_definitions({"other": object()})


def test_the_command_line_does_not_import_dagster_for_help() -> None:
    heavy = ("dagster", "pandas", "sqlalchemy")
    code = f"import sys, pipeline_assets.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _error(*, recoverable: bool, retry_in_s: float | None) -> PipelinePhaseError:
    return PipelinePhaseError(
        Phase.PAGE_SCRAPING,
        "3 of 50 domains are not settled yet",
        recoverable=recoverable,
        retry_in_s=retry_in_s,
        counts={"timeout": 3},
    )


@pytest.mark.parametrize(
    ("recoverable", "retry_in_s", "retries_done", "expected"),
    [
        (True, 60.0, 0, RetryRequested),
        (True, 60.0, 3, Failure),  # no retries left
        (True, 481.0, 0, Failure),  # a longer wait ends the run instead of holding its slot
        (False, 60.0, 0, Failure),
        (True, None, 0, Failure),
    ],
)
def test_only_what_a_wait_can_mend_is_tried_again(
    recoverable: bool, retry_in_s: float | None, retries_done: int, expected: type
) -> None:
    error = _error(recoverable=recoverable, retry_in_s=retry_in_s)
    raised = as_dagster(error, retries_done=retries_done, max_retries=3, longest_wait_s=480)
    assert isinstance(raised, expected)
    if isinstance(raised, RetryRequested):
        assert raised.seconds_to_wait == 60.0
    else:
        assert raised.allow_retries is False
        assert "3 of 50 domains" in str(raised.description)


def _tick(
    instance: DagsterInstance, at: float, schedule: ScheduleDefinition = refresh_pages
) -> list[RunRequest]:
    moment = datetime.fromtimestamp(at, UTC)
    with build_schedule_context(instance=instance, scheduled_execution_time=moment) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def test_the_refresh_schedule_is_off_and_asks_for_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_REFRESH_AFTER", "3600")
    assert {one.default_status for one in ALL} == {DefaultScheduleStatus.STOPPED}
    platform = Platform.open(load_settings())
    source = write_list(tmp_path / "six.csv", [f"company-{n}.example" for n in range(6)])
    take_in(platform.ledger, platform.clock, read_list(source), batch_size=2)
    keys = [batch_key("six", number) for number in (1, 2, 3)]
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("batches", keys)
        now = platform.clock.now()
        assert _tick(instance, now) == []
        _settle(platform, keys[0], now - 7200)
        _settle(platform, keys[2], now - 60)
        requests = _tick(instance, now)
        assert _tick(instance, now, refresh_companies) == []
    platform.close()
    assert refresh_pages.job_name == "scrape_pages"
    assert len(requests) == 1
    tags = requests[0].tags
    assert tags["dagster/asset_partition_range_start"] == keys[0]
    assert tags["dagster/asset_partition_range_end"] == keys[0]
    assert tags["pipeline/refresh"] == "true"


def _settle(platform: Platform, key: str, at: float) -> None:
    """Settle every domain of a batch in PAGE_SCRAPING at a given time."""
    ledger = platform.ledger
    worker = ledger.workers.begin(Phase.PAGE_SCRAPING, None, at)
    for task in ledger.work.claim(worker, Phase.PAGE_SCRAPING, [key], 100, at, at):
        change = after_attempt(task, Settled(State.NOT_FOUND), at, RoundPolicy(8, 60))
        ledger.work.settle(worker, Phase.PAGE_SCRAPING, change, CODE_VERSION, at)
    ledger.workers.end(worker, at, "finished")
