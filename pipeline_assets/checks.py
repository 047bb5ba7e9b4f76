"""Asset checks that can be run by themselves, from the ledger and the files.

The assets' bodies log an evaluation of each for every partition as it is recorded; these
definitions make Dagster show them per partition, and allow to check again at any time.
"""

from collections.abc import Callable, Sequence

import pyarrow.parquet as pq
from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    asset_check,
)

from pipeline_assets import reporting
from pipeline_assets.company_profiles import COMPLETE_CHECK
from pipeline_assets.partitions import BATCHES
from pipeline_assets.recording import EXPECTED, SCHEMAS
from resources.artifact_writer import ASSET_OF
from resources.core.models import Phase
from resources.core.tallies import Tally, sum_up
from resources.dagster_resource import PipelineResource
from resources.platform import Platform
from resources.profile_builder import ASSET as PROFILES
from resources.profile_builder import INPUTS

Evaluate = Callable[[Platform, str], AssetCheckEvaluation]


def _check(asset: str, name: str, description: str, evaluate: Evaluate) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(asset), name=name, description=description, partitions_def=BATCHES)
    def check(context: AssetCheckExecutionContext, pipeline: PipelineResource) -> AssetCheckResult:
        keys = context.op_execution_context.partition_keys
        found = [evaluate(pipeline.platform, key) for key in keys]
        failed = [one for one in found if not one.passed]
        worst = next(
            (one for one in failed if one.severity is AssetCheckSeverity.ERROR),
            failed[0] if failed else found[0],
        )
        several = f" ({len(failed)} of {len(found)} batches)" if len(found) > 1 else ""
        return AssetCheckResult(
            passed=not failed,
            severity=worst.severity,
            description=f"{worst.description}{several}",
            metadata=worst.metadata,
        )

    return check


def _settled(phase: Phase) -> Evaluate:
    def evaluate(platform: Platform, key: str) -> AssetCheckEvaluation:
        tally = platform.ledger.work.tallies(phase, [key])[key]
        return reporting.settled_check(ASSET_OF[phase], key, tally)

    return evaluate


def _filled(phase: Phase) -> Evaluate:
    def evaluate(platform: Platform, key: str) -> AssetCheckEvaluation:
        written = platform.artifacts.write_phase(phase, key)
        return reporting.filled_check(ASSET_OF[phase], key, written.fill, *EXPECTED[phase])

    return evaluate


def _schema(phase: Phase) -> Evaluate:
    def evaluate(platform: Platform, key: str) -> AssetCheckEvaluation:
        path = platform.store.root / ASSET_OF[phase] / f"{key}.parquet"
        return reporting.schema_check(ASSET_OF[phase], key, pq.read_schema(path), SCHEMAS[phase])

    return evaluate


def _complete(platform: Platform, key: str) -> AssetCheckEvaluation:
    open_in: dict[Phase, Tally] = {
        phase: sum_up(platform.ledger.work.tallies(phase, [key]).values()) for phase in INPUTS
    }
    missing = {phase.value: tally.unsettled for phase, tally in open_in.items() if tally.unsettled}
    return AssetCheckEvaluation(
        asset_key=AssetKey(PROFILES),
        check_name=COMPLETE_CHECK,
        partition=key,
        passed=not missing,
        severity=AssetCheckSeverity.WARN,
        description=f"not settled yet: {missing}" if missing else "built from all sources",
    )


def _of_phase(phase: Phase) -> Sequence[AssetChecksDefinition]:
    asset = ASSET_OF[phase]
    column, least = EXPECTED[phase]
    return (
        _check(asset, reporting.SETTLED_CHECK, "Every domain is settled.", _settled(phase)),
        _check(
            asset,
            reporting.FILLED_CHECK,
            f"At least {least:.0%} of the rows have a value in {column!r}.",
            _filled(phase),
        ),
        _check(asset, reporting.SCHEMA_CHECK, "The file has its columns.", _schema(phase)),
    )


ALL = [
    *_of_phase(Phase.COMPANY_ENRICHMENT),
    *_of_phase(Phase.PAGE_SCRAPING),
    _check(PROFILES, COMPLETE_CHECK, "Built from all sources.", _complete),
]
