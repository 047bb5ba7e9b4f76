"""Looks into Dagster's own records, as its UI does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from pipeline_assets.partitions import BATCHES
from tests.support.requirements import ROOT


@contextmanager
def instance_of(home: Path, database_url: str | None = None) -> Iterator[DagsterInstance]:
    """The Dagster instance whose state lies in a home, or in a database."""
    wanted = {"PIPELINE_HOME": str(home), "PIPELINE_DATABASE_URL": database_url}
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        with DagsterInstance.from_config(str(ROOT)) as instance:
            yield instance
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def statuses(
    home: Path, asset: str, keys: Sequence[str], database_url: str | None = None
) -> dict[str, str | None]:
    """What Dagster shows for each partition: MATERIALIZED, FAILED, IN_PROGRESS or None."""
    with instance_of(home, database_url) as instance:
        found = instance.get_status_by_partition(AssetKey(asset), list(keys), BATCHES) or {}
    return {key: (s.value if (s := found.get(key)) else None) for key in keys}


def partitions(home: Path, database_url: str | None = None) -> list[str]:
    """All batches that Dagster knows."""
    with instance_of(home, database_url) as instance:
        return list(instance.get_dynamic_partitions("batches"))


def materialized(home: Path, asset: str, database_url: str | None = None) -> list[str]:
    """Partitions of all logged materialisations, oldest first, repeats included."""
    with instance_of(home, database_url) as instance:
        found = instance.fetch_materializations(
            AssetRecordsFilter(asset_key=AssetKey(asset)), limit=10_000, ascending=True
        )
    return [str(record.partition_key) for record in found.records]
