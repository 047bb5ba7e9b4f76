"""What the browser asks Dagster for: launching, cancelling, and what is shown of it.

Only GraphQL, so that the campaign sees what a person sees, and changes nothing in other ways.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from pipeline_assets.partitions import RANGE_END, RANGE_START
from tests.campaigns.healing_waits import until
from tests.support.dagster_servers import Web

RECONCILER = "heal_batches"
UNDER_WAY = frozenset({"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"})
_REPOSITORY = {"repositoryLocationName": "pipeline", "repositoryName": "__repository__"}
_PATIENCE_S = 60.0

_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_TERMINATE = """
mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message } }
}
"""
_RUNS = """
query($limit: Int!) {
  runsOrError(limit: $limit) {
    ... on Runs {
      results { runId jobName status creationTime startTime endTime tags { key value } }
    }
  }
}
"""
_STATUSES = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materializedPartitions failedPartitions materializingPartitions
        }
      }
    }
  }
}
"""
_SENSOR = """
query($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    __typename
    ... on Sensor { sensorState { status ticks(limit: 25) { timestamp status error { message } } } }
  }
}
"""
_LOADED = """
query { repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name sensors { name } } } } }
"""


@dataclass(frozen=True)
class RunSeen:
    """A run as the browser shows it. Times are epoch seconds."""

    id: str
    job: str
    status: str
    created_at: float
    ended_at: float | None
    tags: Mapping[str, str]

    @property
    def is_under_way(self) -> bool:
        return self.status in UNDER_WAY

    @property
    def is_by_reconciler(self) -> bool:
        return self.tags.get("dagster/sensor_name") == RECONCILER

    def covers(self, keys: Collection[str]) -> bool:
        """Whether one of these partitions is in its range, or is its partition.

        Partitions of one list, whose keys are in the order of their names.
        """
        single = self.tags.get("dagster/partition")
        first, last = self.tags.get(RANGE_START, single), self.tags.get(RANGE_END, single)
        if first is None or last is None:
            return False
        return any(first <= key <= last for key in keys)


class Dagster(Web):
    """The webserver; asked again while it is away."""

    def ask(self, query: str, variables: Mapping[str, Any]) -> Any:
        def try_it() -> Any:
            try:
                return [super(Dagster, self).ask(query, variables)]
            except HTTPException as error:
                raise OSError(str(error)) from error

        return until(try_it, _PATIENCE_S, "an answer of the webserver")[0]

    def is_loaded(self) -> bool:
        """Whether the definitions are there."""
        found = self.ask(_LOADED, {})["repositoriesOrError"]
        return bool(found.get("nodes"))

    def launch(self, job: str, keys: Sequence[str]) -> str:
        """Launch a job over a range of partitions. Returns the run's id."""
        tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
        params = {
            "selector": {**_REPOSITORY, "pipelineName": job},
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        found = self.ask(_LAUNCH, {"params": params})["launchPipelineExecution"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def cancel(self, run_id: str) -> None:
        """What "Terminate" does."""
        found = self.ask(_TERMINATE, {"id": run_id})["terminateRun"]
        assert found["__typename"] == "TerminateRunSuccess", found

    def runs(self, limit: int = 500) -> list[RunSeen]:
        """All runs, newest first."""
        results = self.ask(_RUNS, {"limit": limit})["runsOrError"]["results"]
        return [
            RunSeen(
                one["runId"],
                one["jobName"],
                one["status"],
                one["creationTime"],
                one["endTime"],
                {tag["key"]: tag["value"] for tag in one["tags"]},
            )
            for one in results
        ]

    def run(self, run_id: str) -> RunSeen:
        """One of them."""
        return next(one for one in self.runs() if one.id == run_id)

    def statuses(self, asset: str) -> dict[str, str]:
        """What is shown for each partition; one that is missing is not in it."""
        node = self.ask(_STATUSES, {"key": {"path": [asset]}})["assetNodeOrError"]
        if "assetPartitionStatuses" not in node:
            raise OSError("the definitions are not loaded")
        found = node["assetPartitionStatuses"]
        shown: dict[str, str] = {}
        for name, status in (
            ("materializedPartitions", "MATERIALIZED"),
            ("failedPartitions", "FAILED"),
            ("materializingPartitions", "IN_PROGRESS"),
        ):
            shown.update(dict.fromkeys(found[name], status))
        return shown

    def ticks(self, sensor: str = RECONCILER) -> list[float]:
        """When a sensor has ticked lately, newest first; ticks that failed are left out."""
        selector = {**_REPOSITORY, "sensorName": sensor}
        found = self.ask(_SENSOR, {"selector": selector})["sensorOrError"]
        if found["__typename"] != "Sensor":
            raise OSError(f"there is no sensor {sensor}")
        ticks = found["sensorState"]["ticks"]
        return [one["timestamp"] for one in ticks if one["status"] in {"SUCCESS", "SKIPPED"}]
