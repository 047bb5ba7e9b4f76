"""company_profiles: one profile per company of a batch, built from what is settled so far."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    MetadataValue,
    asset,
)

from pipeline_assets import reporting
from pipeline_assets.dagster_records import PartitionLog, Upstream
from pipeline_assets.enriched_companies import enriched_companies
from pipeline_assets.failures import crashed_in, taken_over
from pipeline_assets.partitions import BATCHES, PROFILES_PER_RUN
from pipeline_assets.recording import request
from pipeline_assets.scraped_pages import scraped_pages
from resources.core.errors import LeaseLost
from resources.core.models import Phase
from resources.dagster_resource import PipelineResource
from resources.platform import Platform
from resources.profile_builder import ASSET, CODE_VERSION, BuiltProfiles

COMPLETE_CHECK = "complete"
UPSTREAM = ("enriched_companies", "scraped_pages")


@asset(
    partitions_def=BATCHES,
    backfill_policy=PROFILES_PER_RUN,
    deps=[enriched_companies, scraped_pages],
    output_required=False,
    group_name="companies",
    kinds={"parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    description="Both phases joined: every field with value, source, time and confidence. Built "
    "from what is settled; says what is missing and is built again when more has settled.",
)
def company_profiles(context: AssetExecutionContext, pipeline: PipelineResource) -> Iterator[Any]:
    log, keys = PartitionLog.of_run(context), sorted(context.partition_keys)
    try:
        if context.retry_number == 0:
            request(context, pipeline.platform, Phase.PROFILE_BUILD, keys)
        upstream = Upstream(context.instance, UPSTREAM, context.partition_keys)
        for key in keys:
            record_profiles(log, pipeline.platform, upstream, key)
    except LeaseLost as error:
        raise taken_over(error) from error
    except Exception as error:  # noqa: BLE001  # it has a kind, and is raised again
        failure = crashed_in(context, Phase.PROFILE_BUILD, keys, error)
        raise failure from failure.__cause__
    yield from ()


def record_profiles(log: PartitionLog, platform: Platform, upstream: Upstream, key: str) -> None:
    """Build a batch's profiles from what is settled, and log the partition."""
    built = platform.profiles.build(key)
    tags = upstream.tags(
        key, data_version=built.written.artifact.data_version, code_version=CODE_VERSION
    )
    metadata = {
        "domains": built.written.artifact.rows,
        "states": MetadataValue.json({s.value: n for s, n in sorted(built.states.items())}),
        "missing": MetadataValue.json({p.value: n for p, n in built.missing.items()}),
    }
    root = str(platform.store.root)
    log.record(
        key,
        reporting.materialization(ASSET, key, built.written, tags, metadata, root),
        [complete_check(key, built)],
    )


def complete_check(partition: str | None, built: BuiltProfiles) -> AssetCheckEvaluation:
    """Warns when profiles were built before all of their sources had settled."""
    missing = {phase.value: n for phase, n in built.missing.items() if n}
    words = ", ".join(f"{n} of {phase}" for phase, n in missing.items())
    return AssetCheckEvaluation(
        asset_key=AssetKey(ASSET),
        check_name=COMPLETE_CHECK,
        partition=partition,
        passed=not missing,
        severity=AssetCheckSeverity.WARN,
        description=f"not settled yet: {words}" if missing else "built from all sources",
        metadata={"missing": MetadataValue.json(missing)},
    )
