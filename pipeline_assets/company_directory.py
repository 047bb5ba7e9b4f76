"""company_directory: all profiles in one table, exported as Parquet and CSV."""

from dagster import AssetExecutionContext, DataVersion, MaterializeResult, MetadataValue, asset

from pipeline_assets import reporting
from pipeline_assets.company_profiles import company_profiles
from resources.dagster_resource import PipelineResource
from resources.profile_builder import SCHEMA


@asset(
    deps=[company_profiles],
    group_name="directory",
    kinds={"parquet", "csv"},
    owners=["team:data"],
    code_version="1",
    description="Every company once, with its profile; Parquet for machines and a CSV that a "
    "spreadsheet program opens safely.",
)
def company_directory(
    context: AssetExecutionContext, pipeline: PipelineResource
) -> MaterializeResult[None]:
    report = pipeline.platform.directory.write()
    context.log.info(f"{report.rows} companies written to {report.csv}")
    return MaterializeResult(
        data_version=DataVersion(report.data_version),
        metadata={
            "dagster/row_count": report.rows,
            "csv": MetadataValue.path(str(report.csv)),
            "parquet": MetadataValue.path(str(report.parquet)),
            "fill_rates": MetadataValue.json({k: round(v, 3) for k, v in report.fill.items()}),
            "dagster/column_schema": MetadataValue.table_schema(reporting.column_schema(SCHEMA)),
        },
    )
