"""Schedules, off by default, that work again on what has become stale; one for each phase."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from pipeline_assets.jobs import JOB_OF
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from pipeline_assets.recording import REFRESH_TAG
from resources.core.batches import contiguous_ranges
from resources.core.config import load_settings
from resources.core.models import Phase
from resources.phase_run import CODE_VERSIONS
from resources.platform import Platform


def _refresh(name: str, phase: Phase, cron: str) -> ScheduleDefinition:
    @schedule(
        name=name,
        cron_schedule=cron,
        job=JOB_OF[phase],
        default_status=DefaultScheduleStatus.STOPPED,
        description=f"Every night: batches in which {phase} settled a domain longer ago than "
        "PIPELINE_REFRESH_AFTER, or by older code, are worked on again; "
        "what is fresh costs nothing.",
    )
    def refresh(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        stale = _stale_batches(phase)
        all_keys = BATCHES.get_partition_keys(dynamic_partitions_store=context.instance)
        known = [key for key in all_keys if key in stale]
        if not known:
            yield SkipReason("nothing is stale")
        for start, end in contiguous_ranges(all_keys, known):
            yield RunRequest(
                run_key=f"{start}:{end}:{context.scheduled_execution_time}",
                tags={RANGE_START: start, RANGE_END: end, REFRESH_TAG: "true"},
            )

    return refresh


def _stale_batches(phase: Phase) -> set[str]:
    with Platform.opened(load_settings()) as platform:
        stale_before = platform.clock.now() - platform.settings.refresh_after
        return platform.ledger.work.stale_batches(
            phase, stale_before, code_version=CODE_VERSIONS[phase]
        )


refresh_companies = _refresh("refresh_companies", Phase.COMPANY_ENRICHMENT, "0 2 * * *")
refresh_pages = _refresh("refresh_pages", Phase.PAGE_SCRAPING, "0 3 * * *")
ALL = [refresh_companies, refresh_pages]
