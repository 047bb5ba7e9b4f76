"""scraped_pages: the few pages of each site that tell about the company."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, asset

from pipeline_assets.domain_batches import domain_batches
from pipeline_assets.partitions import BATCHES, PHASE_PER_RUN
from pipeline_assets.recording import run_phase
from resources.adapters.site_visit import CODE_VERSION
from resources.core.models import Phase
from resources.dagster_resource import PipelineResource


@asset(
    partitions_def=BATCHES,
    backfill_policy=PHASE_PER_RUN,
    deps=[domain_batches],
    output_required=False,
    group_name="companies",
    kinds={"html", "parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    description="The home page and the few pages that tell about the company, fetched politely, "
    "with what was extracted. Materialised only when every domain of the batch is settled.",
)
def scraped_pages(context: AssetExecutionContext, pipeline: PipelineResource) -> Iterator[Any]:
    run_phase(context, pipeline, Phase.PAGE_SCRAPING)
    yield from ()
