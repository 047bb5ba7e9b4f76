"""domain_batches: the immutable manifest of a batch, written when its list was taken in."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, AssetKey, asset

from pipeline_assets import reporting
from pipeline_assets.dagster_records import Upstream
from pipeline_assets.partitions import BATCHES, MANIFESTS_PER_RUN
from resources.artifact_writer import MANIFEST_ASSET
from resources.dagster_resource import PipelineResource

CODE_VERSION = "1"


@asset(
    partitions_def=BATCHES,
    backfill_policy=MANIFESTS_PER_RUN,
    output_required=False,
    group_name="intake",
    kinds={"parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    description="Which domains a batch holds, with their line, names, country and attributes. "
    "Written once when a list is taken in; a batch never changes.",
)
def domain_batches(context: AssetExecutionContext, pipeline: PipelineResource) -> Iterator[Any]:
    platform = pipeline.platform
    upstream = Upstream(context.instance, [], context.partition_keys)
    for key in sorted(context.partition_keys):
        written = platform.artifacts.write_manifest(key)
        tags = upstream.tags(
            key, data_version=written.artifact.data_version, code_version=CODE_VERSION
        )
        root = str(platform.store.root)
        context.log_event(
            reporting.materialization(
                MANIFEST_ASSET, key, written, tags, {"domains": written.artifact.rows}, root
            )
        )
    yield from ()


KEY = AssetKey(MANIFEST_ASSET)
