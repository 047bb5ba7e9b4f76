"""A schedule, off by default, that works again on what has become stale."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from pipeline_assets.jobs import JOB_OF
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from pipeline_assets.recording import REFRESH_TAG
from resources.core.batches import contiguous_ranges
from resources.core.config import load_settings
from resources.platform import Platform


@schedule(
    name="refresh_stale",
    cron_schedule="0 3 * * *",
    target="*",
    default_status=DefaultScheduleStatus.STOPPED,
    description="Every night: batches in which a settled domain is older than "
    "PIPELINE_REFRESH_AFTER are worked on again; what is fresh costs nothing.",
)
def refresh_stale(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
    platform = Platform.open(load_settings())
    try:
        now = platform.clock.now()
        all_keys = BATCHES.get_partition_keys(dynamic_partitions_store=context.instance)
        asked = 0
        for phase, job in JOB_OF.items():
            stale = platform.ledger.work.stale_batches(phase, now - platform.settings.refresh_after)
            known = [key for key in all_keys if key in stale]
            for start, end in contiguous_ranges(all_keys, known):
                asked += 1
                yield RunRequest(
                    run_key=f"{phase}:{start}:{end}:{context.scheduled_execution_time}",
                    job_name=job.name,
                    tags={RANGE_START: start, RANGE_END: end, REFRESH_TAG: "true"},
                )
        if not asked:
            yield SkipReason("nothing is stale")
    finally:
        platform.close()
