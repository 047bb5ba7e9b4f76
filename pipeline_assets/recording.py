"""The one body of the two fetching assets: works, and records in Dagster exactly what is true.

Dagster has traps for several partitions in one run, each of them measured (docs/adr/0002): only a
generator that logs each partition itself, settled ones first, and raises at the end if anything is
unsettled leaves the right status behind for every partition of the range.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pyarrow.parquet as pq
from dagster import AssetExecutionContext, RetryRequested

from pipeline_assets import reporting
from pipeline_assets.dagster_records import PartitionLog, Upstream
from pipeline_assets.failures import (
    AT_ONCE_S,
    MOST_EXAMPLES,
    as_dagster,
    crashed_in,
    taken_over,
    unusable,
)
from resources.adapters import tables
from resources.artifact_writer import ASSET_OF, MANIFEST_ASSET
from resources.core.batch_runner import BatchSettled, BatchStarted, Noticed, PassEnded
from resources.core.errors import LeaseLost, UsageError
from resources.core.models import Phase
from resources.core.redaction import redact
from resources.core.tallies import Tally, sum_up
from resources.core.unsettled import phase_error
from resources.dagster_resource import PipelineResource
from resources.phase_run import CODE_VERSIONS
from resources.platform import Platform

REFRESH_TAG = "pipeline/refresh"
# A person who runs a batch again means now; an automatic run waits until domains are due.
DUE_ONLY_TAG = "pipeline/due_only"
SCOPE_TAG = "pipeline/invocation"
# Why an automatic run is there, in words.
REASON_TAG = "pipeline/healing"
# Dagster's own.
PARENT_RUN_TAG = "dagster/parent_run_id"
RETRY_NUMBER_TAG = "dagster/retry_number"
SCHEMAS = {Phase.COMPANY_ENRICHMENT: tables.ENRICHED, Phase.PAGE_SCRAPING: tables.SCRAPED}
# The column that tells whether a phase found what it is for, and the least share of rows with it.
EXPECTED = {Phase.COMPANY_ENRICHMENT: ("matched", 0.2), Phase.PAGE_SCRAPING: ("title", 0.5)}


def run_phase(context: AssetExecutionContext, pipeline: PipelineResource, phase: Phase) -> None:
    """Work through the run's partitions and log each as it is settled.

    Raises:
        RetryRequested, Failure: not all domains are settled; says how many and why.
    """
    recorder = _Recorder(context, pipeline, phase)
    platform, keys, tags = pipeline.platform, sorted(context.partition_keys), context.run.tags
    _ask_for(context, platform, phase, keys)
    since = platform.clock.now()
    ended: PassEnded | None = None
    scope = tags.get(SCOPE_TAG, context.run.run_id)
    try:
        for event in platform.run_phase(phase, keys, run_id=context.run.run_id, scope=scope):
            match event:
                case BatchStarted():
                    context.log.info(event.sentence)
                case BatchSettled():
                    recorder.record(event)
                case Noticed(message):
                    context.log.warning(redact(message))
                case PassEnded():
                    ended = event
        platform.ledger.workers.require_process_unburied()
    except LeaseLost as error:
        raise taken_over(error) from error
    except UsageError as error:
        raise unusable(error) from error
    except Exception as error:  # noqa: BLE001  # it has a kind, and is raised again
        failure = crashed_in(context, phase, keys, error)
        raise failure from failure.__cause__
    if ended is not None:
        recorder.conclude(ended, since)


def _ask_for(
    context: AssetExecutionContext, platform: Platform, phase: Phase, keys: Sequence[str]
) -> None:
    """Let the domains be worked on that this run is for, when it begins."""
    tags = context.run.tags
    if context.retry_number == 0:
        request(context, platform, phase, keys)
    if REFRESH_TAG in tags and context.retry_number == 0:
        stale_before = platform.clock.now() - platform.settings.refresh_after
        platform.ledger.work.expire(
            phase, keys, stale_before, platform.clock.now(), code_version=CODE_VERSIONS[phase]
        )
    is_now = DUE_ONLY_TAG not in tags or is_by_person(tags)
    if is_now and context.retry_number == 0:
        platform.ledger.work.make_due(phase, keys)


def request(
    context: AssetExecutionContext, platform: Platform, phase: Phase, keys: Sequence[str]
) -> None:
    """Note that the batches are wanted: what this run leaves is then healed by itself.

    A person who starts a run means it, whatever was cancelled or given up before.
    """
    tags, requests, now = context.run.tags, platform.ledger.requests, platform.clock.now()
    scope = tags.get(SCOPE_TAG, context.run.run_id)
    ask = requests.ask_by_person if is_by_person(tags) else requests.ask
    ask(keys, [phase], scope=scope, now=now)
    if is_automatic(tags):
        requests.note_run_began(keys, phase, context.run.run_id)


def is_automatic(tags: Mapping[str, str]) -> bool:
    """Whether healing began the run: it counts for what is given up in the end."""
    return REASON_TAG in tags and not is_by_person(tags)


def is_by_person(tags: Mapping[str, str]) -> bool:
    """Whether a person began the run: also by "re-execute" of a run that healing had begun, which
    takes over its tags. Dagster's own retries do too, and count them."""
    if PARENT_RUN_TAG in tags:
        return RETRY_NUMBER_TAG not in tags
    return DUE_ONLY_TAG not in tags and REFRESH_TAG not in tags


def record_settled(
    log: PartitionLog,
    platform: Platform,
    phase: Phase,
    upstream: Upstream,
    key: str,
    tally: Tally,
    seconds: float | None = None,
) -> None:
    """Log a settled partition of a fetching phase: its artifact, and what the checks say.

    Args:
        seconds: How long the run took for it; None where no run did.
    """
    asset = ASSET_OF[phase]
    written = platform.artifacts.write_phase(phase, key)
    tags = upstream.tags(
        key, data_version=written.artifact.data_version, code_version=CODE_VERSIONS[phase]
    )
    root = platform.store.root
    metadata = reporting.phase_metadata(tally, seconds, written.credits)
    found = pq.read_schema(root / written.artifact.path)
    column, least = EXPECTED[phase]
    log.record(
        key,
        reporting.materialization(asset, key, written, tags, metadata, str(root)),
        (
            reporting.settled_check(asset, key, tally),
            reporting.filled_check(asset, key, written.fill, column, least),
            reporting.schema_check(asset, key, found, SCHEMAS[phase]),
        ),
    )


class _Recorder:
    """Logs materialisations and check evaluations of one asset's partitions."""

    def __init__(
        self, context: AssetExecutionContext, pipeline: PipelineResource, phase: Phase
    ) -> None:
        self._context = context
        self._log = PartitionLog.of_run(context)
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
        # Others may have worked on it since, while this process stood still. The stream finds that
        # out by itself, and ends in order.
        if self._platform.ledger.workers.is_process_buried():
            return
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        record_settled(
            self._log, self._platform, self._phase, self._upstream, event.key, event.tally, seconds
        )
        self._pipeline.logged.add((self._asset, event.key))

    def conclude(self, ended: PassEnded, since: float) -> None:
        """Log what went wrong since the pass began, and raise where something stays unsettled.

        Raises:
            RetryRequested, Failure: something does.
        """
        work, keys = self._platform.ledger.work, sorted(self._context.partition_keys)
        bugs = work.bugs(self._phase, keys, since, most=MOST_EXAMPLES)
        for bug in bugs:
            place = f"{bug.domain} in batch {bug.batch}"
            self._context.log.error(redact(f"{place}: {bug.message}\n{bug.stack}"))
        if ended.stopped_by is not None:
            self._context.log.warning(redact(ended.stopped_by.message))
        if not ended.unsettled:
            return
        for key, tally in sorted(ended.unsettled.items()):
            check = reporting.settled_check(self._asset, key, tally)
            self._log.record(key, None, [check])
        total = sum_up(ended.unsettled.values())
        examples = work.examples(self._phase, sorted(ended.unsettled))
        settings, now = self._platform.settings, self._platform.clock.now()
        stacks = {one.stack: None for one in (*bugs, *examples) if one.stack}
        failure = as_dagster(
            phase_error(self._phase, total, examples, ended.stopped_by, now),
            retries_done=self._context.retry_number,
            max_retries=settings.max_retries,
            longest_wait_s=settings.retry_backoff_base * 2.0**settings.max_retries,
            shortest_wait_s=settings.retry_backoff_base * 2.0**self._context.retry_number,
            examples=examples,
            stacks=list(stacks),
        )
        if isinstance(failure, RetryRequested):
            self._wait(failure.seconds_to_wait or 0.0, str(failure.__cause__))
            failure.seconds_to_wait = AT_ONCE_S
        raise failure

    def _wait(self, wait_s: float, why: str) -> None:
        """Wait before the run tries again, here: while Dagster waits, a cancel is not heard."""
        run_id, clock = self._context.run.run_id, self._platform.clock
        self._platform.ledger.runs.wait(run_id, clock.now() + wait_s)
        self._context.log.warning(f"{why} Trying again in {wait_s:.0f} s.")
        time.sleep(wait_s)
