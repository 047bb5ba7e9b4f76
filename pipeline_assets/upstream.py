"""What Dagster knows of upstream partitions, for the tags that make staleness per partition right.

Uses storage calls that Dagster does not document: the one module that does (Dagster is pinned).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagster import AssetKey, DagsterEventType, DagsterInstance

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
