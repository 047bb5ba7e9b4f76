"""Jobs: one per phase, because phases never share a run (docs/adr/0002); the directory has one."""

from dagster import AssetSelection, define_asset_job

from pipeline_assets.company_directory import company_directory
from pipeline_assets.company_profiles import company_profiles
from pipeline_assets.domain_batches import domain_batches
from pipeline_assets.enriched_companies import enriched_companies
from pipeline_assets.scraped_pages import scraped_pages
from resources.core.models import Phase

take_in = define_asset_job(
    "take_in",
    AssetSelection.assets(domain_batches).without_checks(),
    description="Writes the manifests of new batches.",
)
enrich_companies = define_asset_job(
    "enrich_companies",
    AssetSelection.assets(enriched_companies).without_checks(),
    description="COMPANY_ENRICHMENT: asks providers about the unsettled companies of the batches.",
)
scrape_pages = define_asset_job(
    "scrape_pages",
    AssetSelection.assets(scraped_pages).without_checks(),
    description="PAGE_SCRAPING: visits the unsettled sites of the batches.",
)
build_profiles = define_asset_job(
    "build_profiles",
    AssetSelection.assets(company_profiles).without_checks(),
    description="PROFILE_BUILD: joins what is settled into profiles.",
)
write_directory = define_asset_job(
    "write_directory",
    AssetSelection.assets(company_directory).without_checks(),
    description="Writes all profiles into one table.",
)

JOB_OF = {Phase.COMPANY_ENRICHMENT: enrich_companies, Phase.PAGE_SCRAPING: scrape_pages}
ALL = [take_in, enrich_companies, scrape_pages, build_profiles, write_directory]
