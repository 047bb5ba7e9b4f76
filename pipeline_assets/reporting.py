"""What people look at in Dagster: metadata, checks, and the events that record a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd
import pyarrow as pa
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
)

from resources.artifact_writer import Written
from resources.core.models import State
from resources.core.redaction import redact
from resources.core.tallies import Tally

PREVIEW_WIDTH = 60
PREVIEW_COLUMNS = 8
SETTLED_CHECK, FILLED_CHECK, SCHEMA_CHECK = "settled", "filled", "schema"


def materialization(
    asset: str,
    partition: str,
    written: Written,
    tags: Mapping[str, str],
    metadata: Mapping[str, Any],
    root: str,
) -> AssetMaterialization:
    """The event that records a partition."""
    return AssetMaterialization(
        asset_key=AssetKey(asset),
        partition=partition,
        tags=dict(tags),
        metadata={
            "dagster/row_count": written.artifact.rows,
            **metadata,
            "preview": MetadataValue.md(preview(written.preview)),
            "dagster/column_schema": MetadataValue.table_schema(column_schema(written.schema)),
            "artifact": MetadataValue.path(f"{root}/{written.artifact.path}"),
            "fill_rates": MetadataValue.json(
                {name: round(share, 3) for name, share in written.fill.items()}
            ),
        },
    )


def phase_metadata(tally: Tally, seconds: float | None, credits: float) -> dict[str, Any]:
    """Counts of a batch by state and kind."""
    spent = {} if seconds is None else {"seconds": round(seconds, 2)}
    return {
        "domains": tally.total,
        "states": MetadataValue.json({s.value: n for s, n in sorted(tally.states.items())}),
        "kinds": MetadataValue.json(dict(sorted(tally.kinds.items()))),
        **spent,
        "credits": credits,
    }


def column_schema(schema: pa.Schema) -> TableSchema:
    """An artifact's columns as Dagster shows them."""
    return TableSchema(
        columns=[
            TableColumn(
                field.name,
                str(field.type),
                constraints=TableColumnConstraints(nullable=field.name != "domain"),
            )
            for field in schema
        ]
    )


def preview(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first rows as a Markdown table; cells are short, escaped, and without secrets."""
    if not rows:
        return "*no rows*"
    frame = pd.DataFrame(rows)
    filled = [name for name in frame.columns if frame[name].notna().any()][:PREVIEW_COLUMNS]
    header = "| " + " | ".join(filled) + " |"
    rule = "|" + " --- |" * len(filled)
    lines = [
        "| " + " | ".join(_cell(row[name]) for name in filled) + " |"
        for row in frame[filled].to_dict("records")
    ]
    return "\n".join([header, rule, *lines])


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    text = redact(str(value).replace("\n", " "))
    short = text if len(text) <= PREVIEW_WIDTH else text[: PREVIEW_WIDTH - 1] + "…"
    for character in "&<>|`*_[]\\":
        short = short.replace(character, f"&#{ord(character)};")
    return short


def settled_check(asset: str, partition: str | None, tally: Tally) -> AssetCheckEvaluation:
    """All domains are settled; warns of those that were given up."""
    quarantined = tally.states.get(State.QUARANTINED, 0)
    return AssetCheckEvaluation(
        asset_key=AssetKey(asset),
        check_name=SETTLED_CHECK,
        partition=partition,
        passed=tally.unsettled == 0 and quarantined == 0,
        severity=AssetCheckSeverity.ERROR if tally.unsettled else AssetCheckSeverity.WARN,
        description=f"{tally.settled} of {tally.total} domains are settled, "
        f"{quarantined} of them given up (quarantined)",
        metadata={
            "unsettled": tally.unsettled,
            "quarantined": quarantined,
            "kinds": MetadataValue.json(dict(tally.kinds)),
        },
    )


def filled_check(
    asset: str, partition: str | None, fill: Mapping[str, float], column: str, least: float
) -> AssetCheckEvaluation:
    """A column that matters has values in most rows."""
    share = fill.get(column, 0.0)
    return AssetCheckEvaluation(
        asset_key=AssetKey(asset),
        check_name=FILLED_CHECK,
        partition=partition,
        passed=share >= least,
        severity=AssetCheckSeverity.WARN,
        description=f"{share:.0%} of the rows have a value in {column!r}; expected {least:.0%}",
        metadata={"fill_rates": MetadataValue.json({k: round(v, 3) for k, v in fill.items()})},
    )


def schema_check(
    asset: str, partition: str | None, found: pa.Schema, expected: pa.Schema
) -> AssetCheckEvaluation:
    """The file that was written has the columns that were promised."""
    is_same = found.equals(expected)
    return AssetCheckEvaluation(
        asset_key=AssetKey(asset),
        check_name=SCHEMA_CHECK,
        partition=partition,
        passed=is_same,
        severity=AssetCheckSeverity.ERROR,
        description="the file has the promised columns"
        if is_same
        else "the file's columns differ from what was promised",
        metadata={"columns": MetadataValue.json([f"{f.name}: {f.type}" for f in found])},
    )
