"""Reads and completes Dagster's event log where its documented calls do not reach.

Tags that make staleness per partition right, and checks that count for the materialisation they
were made with. The one module that uses such calls of the storage (Dagster is pinned).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    DagsterEventType,
    DagsterInstance,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

DATA_VERSION = "dagster/data_version"
CODE_VERSION = "dagster/code_version"
IS_USER_PROVIDED = "dagster/data_version_is_user_provided"


class Upstream:
    """Newest materialisations of the upstream assets, read once for all partitions of a run."""

    def __init__(
        self, instance: DagsterInstance, assets: Sequence[str], partitions: Sequence[str]
    ) -> None:
        self._tags: dict[str, dict[str, str]] = {key: {} for key in partitions}
        storage = instance.event_log_storage
        kind = DagsterEventType.ASSET_MATERIALIZATION
        for name in assets:
            key = AssetKey(name)
            ids = storage.get_latest_storage_id_by_partition(key, kind, set(partitions))
            versions: Mapping[str, Mapping[str, str]] = storage.get_latest_tags_by_partition(
                key, kind, [DATA_VERSION], list(partitions)
            )
            for partition, storage_id in ids.items():
                tags = self._tags[partition]
                tags[f"dagster/input_event_pointer/{name}"] = str(storage_id)
                version = versions.get(partition, {}).get(DATA_VERSION)
                if version is not None:
                    tags[f"dagster/input_data_version/{name}"] = version

    def tags(self, partition: str, *, data_version: str, code_version: str) -> dict[str, str]:
        """All tags of one logged materialisation."""
        return {
            DATA_VERSION: data_version,
            IS_USER_PROVIDED: "true",
            CODE_VERSION: code_version,
            **self._tags[partition],
        }


@dataclass(frozen=True)
class PartitionLog:
    """Where events of partitions are written to.

    Args:
        run_id: The run that they belong to; empty for none.
    """

    instance: DagsterInstance
    run_id: str
    write: Callable[[AssetMaterialization | AssetCheckEvaluation], None]

    @classmethod
    def of_run(cls, context: AssetExecutionContext) -> PartitionLog:
        """The log of the run that is under way."""
        return cls(context.instance, context.run.run_id, context.log_event)

    @classmethod
    def without_run(cls, instance: DagsterInstance) -> PartitionLog:
        """The log of the assets themselves, for a record that is put right from outside."""
        return cls(instance, "", instance.report_runless_asset_event)

    def record(
        self,
        partition: str,
        materialization: AssetMaterialization | None,
        checks: Iterable[AssetCheckEvaluation],
    ) -> None:
        """Log a partition's materialisation, if it has one, and its checks.

        Dagster counts a check for a partition only when it names the newest materialisation.
        """
        if materialization is not None:
            self.write(materialization)
        target: AssetCheckEvaluationTargetMaterializationData | None = None
        for check in checks:
            if target is None:
                target = self._newest(check.asset_key, partition)
            self.write(
                AssetCheckEvaluation(
                    asset_key=check.asset_key,
                    check_name=check.check_name,
                    passed=check.passed,
                    metadata=check.metadata,
                    target_materialization_data=target,
                    severity=check.severity,
                    description=check.description,
                    partition=partition,
                )
            )

    def _newest(
        self, asset: AssetKey, partition: str
    ) -> AssetCheckEvaluationTargetMaterializationData | None:
        kind = DagsterEventType.ASSET_MATERIALIZATION
        ids = self.instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, kind, {partition}
        )
        if partition not in ids:
            return None
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=ids[partition], run_id=self.run_id, timestamp=0.0
        )
