"""Wiring only: everything Dagster loads."""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor

from pipeline_assets import checks, jobs, schedules
from pipeline_assets.company_directory import company_directory
from pipeline_assets.company_profiles import company_profiles
from pipeline_assets.domain_batches import domain_batches
from pipeline_assets.enriched_companies import enriched_companies
from pipeline_assets.scraped_pages import scraped_pages
from resources.core.config import load_settings
from resources.dagster_resource import PipelineResource
from sensors import run_failures
from sensors.heal_batches import build_heal_batches
from sensors.new_domains import new_domains
from sensors.stuck_runs import build_stuck_runs


def build_definitions(resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Fresh definitions; tests use this door to bring resources of their own.

    Raises:
        UsageError: a setting is wrong; says which and what would be right.
    """
    settings = load_settings()
    return Definitions(
        assets=[
            domain_batches,
            enriched_companies,
            scraped_pages,
            company_profiles,
            company_directory,
        ],
        asset_checks=checks.ALL,
        jobs=jobs.ALL,
        schedules=schedules.ALL,
        sensors=[
            new_domains,
            build_heal_batches(settings),
            build_stuck_runs(settings),
            *run_failures.ALL,
        ],
        resources={"pipeline": PipelineResource(), **(resource_overrides or {})},
        executor=in_process_executor,
    )


defs = build_definitions()
