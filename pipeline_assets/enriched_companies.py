"""enriched_companies: what providers say about each company of a batch."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, asset

from pipeline_assets.domain_batches import domain_batches
from pipeline_assets.partitions import BATCHES, PHASE_PER_RUN
from pipeline_assets.recording import run_phase
from resources.core.enrichment import CODE_VERSION
from resources.core.models import Phase
from resources.dagster_resource import PipelineResource


@asset(
    partitions_def=BATCHES,
    backfill_policy=PHASE_PER_RUN,
    deps=[domain_batches],
    output_required=False,
    group_name="companies",
    kinds={"api", "parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    description="What providers say about each company, through an ordered chain; every fact "
    "with the call behind it. Materialised only when every domain of the batch is settled.",
)
def enriched_companies(context: AssetExecutionContext, pipeline: PipelineResource) -> Iterator[Any]:
    run_phase(context, pipeline, Phase.COMPANY_ENRICHMENT)
    yield from ()
