"""Looks into Dagster's own records, as its UI does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from pipeline_assets.partitions import BATCHES
from tests.support.requirements import ROOT


@contextmanager
def instance_of(home: Path) -> Iterator[DagsterInstance]:
    """The Dagster instance whose state lies in a home."""
    before = os.environ.get("PIPELINE_HOME")
    os.environ["PIPELINE_HOME"] = str(home)
    try:
        with DagsterInstance.from_config(str(ROOT)) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["PIPELINE_HOME"]
        else:
            os.environ["PIPELINE_HOME"] = before


def statuses(home: Path, asset: str, keys: Sequence[str]) -> dict[str, str | None]:
    """What Dagster shows for each partition: MATERIALIZED, FAILED, IN_PROGRESS or None."""
    with instance_of(home) as instance:
        found = instance.get_status_by_partition(AssetKey(asset), list(keys), BATCHES) or {}
    return {key: (s.value if (s := found.get(key)) else None) for key in keys}


def partitions(home: Path) -> list[str]:
    """All batches that Dagster knows."""
    with instance_of(home) as instance:
        return list(instance.get_dynamic_partitions("batches"))


def materialized(home: Path, asset: str) -> list[str]:
    """Partitions of all logged materialisations, oldest first, repeats included."""
    with instance_of(home) as instance:
        found = instance.fetch_materializations(
            AssetRecordsFilter(asset_key=AssetKey(asset)), limit=10_000, ascending=True
        )
    return [str(record.partition_key) for record in found.records]
