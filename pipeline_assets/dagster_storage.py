"""Where Dagster keeps its records: with the ledger on PostgreSQL, else SQLite in PIPELINE_HOME.

`dagster.yaml` names the class below, and every process of Dagster's makes it: webserver, daemon,
code server and run workers. What it needs it reads from the settings, so that no password stands
in `dagster.yaml`, in a command line or in what Dagster passes on between its processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from resources.adapters.database_url import is_postgres, read_url
from resources.core.config import load_settings


class PipelineStorage(DagsterStorage[DagsterInstance], ConfigurableClass):
    """The name for `dagster.yaml`; what Dagster gets is a storage of its own kinds."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing: all of it is in the settings."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # any storage will do
        cls,
        inst_data: ConfigurableClassData,
        config_value: Mapping[str, Any],  # noqa: ARG003
    ) -> DagsterStorage[DagsterInstance]:
        """Open the storage that the settings mean; on PostgreSQL it is made when it is missing.

        Raises:
            UsageError: a setting is wrong, or the database cannot be opened.
        """
        settings = load_settings()
        if settings.database_url is not None:
            url = read_url(settings.ledger_url)
            if is_postgres(url):
                from pipeline_assets.postgres_storage import open_storage  # noqa: PLC0415

                return open_storage(url, inst_data)
        return DagsterSqliteStorage.from_local(str(settings.home), inst_data)
