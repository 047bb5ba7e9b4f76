"""The one body of the two fetching assets: works, and records in Dagster exactly what is true.

Dagster has traps for several partitions in one run, each of them measured (docs/adr/0002): only a
generator that logs each partition itself, settled ones first, and raises at the end if anything is
unsettled leaves the right status behind for every partition of the range.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pyarrow.parquet as pq
from dagster import AssetCheckEvaluation, AssetExecutionContext

from pipeline_assets import reporting
from pipeline_assets.dagster_records import Upstream, log_partition
from pipeline_assets.failures import as_dagster, taken_over
from resources.adapters import tables
from resources.artifact_writer import ASSET_OF, MANIFEST_ASSET, Written
from resources.core.batch_runner import BatchSettled, BatchStarted, PassEnded
from resources.core.errors import RULES, FailureKind, LeaseLost, PipelinePhaseError
from resources.core.models import Phase
from resources.core.redaction import redact
from resources.core.tallies import sentence, sum_up
from resources.dagster_resource import PipelineResource
from resources.phase_run import CODE_VERSIONS

REFRESH_TAG = "pipeline/refresh"
# A person who runs a batch again means now; an automatic run waits until domains are due.
DUE_ONLY_TAG = "pipeline/due_only"
SCOPE_TAG = "pipeline/invocation"
SCHEMAS = {Phase.COMPANY_ENRICHMENT: tables.ENRICHED, Phase.PAGE_SCRAPING: tables.SCRAPED}
# The column that tells whether a phase found what it is for, and the least share of rows with it.
EXPECTED = {Phase.COMPANY_ENRICHMENT: ("matched", 0.2), Phase.PAGE_SCRAPING: ("title", 0.5)}


def run_phase(context: AssetExecutionContext, pipeline: PipelineResource, phase: Phase) -> None:
    """Work through the run's partitions and log each as it is settled.

    Raises:
        RetryRequested, Failure: not all domains are settled; says how many and why.
    """
    recorder = _Recorder(context, pipeline, phase)
    platform = pipeline.platform
    keys = sorted(context.partition_keys)
    platform.ledger.lists.mark_requested(keys, platform.clock.now())
    tags = context.run.tags
    if REFRESH_TAG in tags and context.retry_number == 0:
        stale_before = platform.clock.now() - platform.settings.refresh_after
        platform.ledger.work.expire(
            phase, keys, stale_before, platform.clock.now(), code_version=CODE_VERSIONS[phase]
        )
    if DUE_ONLY_TAG not in tags and context.retry_number == 0:
        platform.ledger.work.make_due(phase, keys)
    ended: PassEnded | None = None
    scope = tags.get(SCOPE_TAG, context.run.run_id)
    try:
        for event in platform.run_phase(phase, keys, run_id=context.run.run_id, scope=scope):
            match event:
                case BatchStarted(key, number, total, unsettled):
                    context.log.info(
                        f"Processing batch {number}/{total} ({unsettled} domains): {key}"
                    )
                case BatchSettled():
                    recorder.record(event)
                case PassEnded():
                    ended = event
    except LeaseLost as error:
        raise taken_over(error) from error
    if ended is not None and ended.stopped_by is not None:
        context.log.warning(redact(ended.stopped_by.message))
    if ended is not None and ended.unsettled:
        recorder.record_unsettled(ended)
        settings = platform.settings
        raise as_dagster(
            _error_of(phase, ended, platform.clock.now()),
            retries_done=context.retry_number,
            max_retries=settings.max_retries,
            longest_wait_s=settings.retry_backoff_base * 2.0**settings.max_retries,
        )


class _Recorder:
    """Logs materialisations and check evaluations of one asset's partitions."""

    def __init__(
        self, context: AssetExecutionContext, pipeline: PipelineResource, phase: Phase
    ) -> None:
        self._context = context
        self._pipeline = pipeline
        self._platform = pipeline.platform
        self._phase = phase
        self._asset = ASSET_OF[phase]
        self._upstream = Upstream(context.instance, [MANIFEST_ASSET], context.partition_keys)
        self._since = time.monotonic()

    def record(self, event: BatchSettled) -> None:
        """Log a settled partition, once per run."""
        if (self._asset, event.key) in self._pipeline.logged:
            return
        written = self._platform.artifacts.write_phase(
            self._phase, event.key, event.tally.fingerprint
        )
        tags = self._upstream.tags(
            event.key,
            data_version=written.artifact.data_version,
            code_version=CODE_VERSIONS[self._phase],
        )
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        root = str(self._platform.store.root)
        metadata = reporting.phase_metadata(event.tally, seconds, written.credits)
        log_partition(
            self._context,
            event.key,
            reporting.materialization(self._asset, event.key, written, tags, metadata, root),
            self._checks(event, written),
        )
        self._pipeline.logged.add((self._asset, event.key))

    def _checks(self, event: BatchSettled, written: Written) -> Sequence[AssetCheckEvaluation]:
        found = pq.read_schema(self._platform.store.root / written.artifact.path)
        column, least = EXPECTED[self._phase]
        return (
            reporting.settled_check(self._asset, event.key, event.tally),
            reporting.filled_check(self._asset, event.key, written.fill, column, least),
            reporting.schema_check(self._asset, event.key, found, SCHEMAS[self._phase]),
        )

    def record_unsettled(self, ended: PassEnded) -> None:
        """Log for each partition that stays open why it does."""
        for key, tally in sorted(ended.unsettled.items()):
            check = reporting.settled_check(self._asset, key, tally)
            log_partition(self._context, key, None, [check])


def _error_of(phase: Phase, ended: PassEnded, now: float) -> PipelinePhaseError:
    total = sum_up(ended.unsettled.values())
    message = sentence(phase, total)
    is_stopped = False
    if ended.stopped_by is not None:
        message = f"{ended.stopped_by.message.rstrip('.')}. {message}"
        is_stopped = RULES[ended.stopped_by.kind].stops_run or (
            ended.stopped_by.kind is FailureKind.CANCELLED
        )
    due = total.next_round_at
    return PipelinePhaseError(
        phase,
        redact(message),
        recoverable=due is not None and not is_stopped,
        retry_in_s=None if due is None else max(0.0, due - now),
        counts=total.waiting_kinds,
    )
