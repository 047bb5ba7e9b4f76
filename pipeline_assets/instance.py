"""Where Dagster lives: sets its home and ours, opens the instance, runs jobs in this process.

Also reaps runs that this machine's earlier commands left behind when they were killed: Dagster
shows such a run STARTED for ever. Uses calls that Dagster does not document (it is pinned).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    RunsFilter,
)
from dagster._core.errors import DagsterExecutionInterruptedError

from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone
from resources.core.config import PROJECT_ROOT, Settings
from resources.core.errors import CallError

# Which process works on a run, as host/boot id/pid/start time: whether it is gone can be told.
PROCESS_TAG = "pipeline/process"
_UNENDED = [
    DagsterRunStatus.STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.CANCELING,
    DagsterRunStatus.NOT_STARTED,
]
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def set_homes(settings: Settings) -> None:
    """Point Dagster at this project and at the settings' home, whatever the current directory."""
    os.environ["DAGSTER_HOME"] = str(PROJECT_ROOT)
    os.environ["PIPELINE_HOME"] = str(settings.home)


class Runs:
    """Runs jobs of the definitions in this process, on the shared instance."""

    def __init__(self, instance: DagsterInstance, definitions: Definitions) -> None:
        self._instance = instance
        self._definitions = definitions

    def add_partitions(self, keys: Sequence[str]) -> None:
        """Make batches known as partitions; known ones stay as they are."""
        known = set(self._instance.get_dynamic_partitions(str(BATCHES.name)))
        new = [key for key in keys if key not in known]
        if new:
            self._instance.add_dynamic_partitions(str(BATCHES.name), new)

    def all_partitions(self) -> Sequence[str]:
        """All partitions in Dagster's order."""
        return self._instance.get_dynamic_partitions(str(BATCHES.name))

    def unrecorded(self, asset: str, keys: Sequence[str]) -> list[str]:
        """Those partitions that Dagster does not show as materialised."""
        found = self._instance.get_status_by_partition(AssetKey(asset), list(keys), BATCHES)
        statuses = found or {}
        return [
            key
            for key in keys
            if (status := statuses.get(key)) is None or status.value != "MATERIALIZED"
        ]

    def run(self, job: str, tags: Mapping[str, str]) -> str | None:
        """Run a job to its end here. Returns None, or in one line why it failed."""
        me = current_process()
        process = f"{me.host}/{me.boot_id}/{me.pid}/{me.process_started}"
        try:
            result = self._definitions.resolve_job_def(job).execute_in_process(
                run_config=_QUIET,
                instance=self._instance,
                raise_on_error=False,
                tags={PROCESS_TAG: process, **tags},
            )
        except DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        return None if result.success else _why_failed(result)

    def run_range(self, job: str, start: str, end: str, tags: Mapping[str, str]) -> str | None:
        """Run a job over a contiguous range of partitions."""
        return self.run(job, {RANGE_START: start, RANGE_END: end, **tags})

    def dead(self) -> list[str]:
        """Ids of runs that Dagster shows as under way, and whose process is certainly gone."""
        return [run.run_id for run in self._dead()]

    def reap(self) -> list[str]:
        """Report runs whose process is certainly gone: as failed, or as cancelled where a person
        had asked for that. Returns their ids."""
        dead = self._dead()
        for run in dead:
            reason = "The process that worked on this run is gone; what it finished is kept."
            if run.status is DagsterRunStatus.CANCELING:
                self._instance.report_run_canceled(run, reason)
            else:
                self._instance.report_run_failed(run, reason)
        return [run.run_id for run in dead]

    def _dead(self) -> list[DagsterRun]:
        found = []
        for run in self._instance.get_runs(RunsFilter(statuses=_UNENDED)):
            identity = identity_of(run.tags)
            if identity is not None and is_process_gone(identity):
                found.append(run)
        return found


def _why_failed(result: ExecuteInProcessResult) -> str:
    """The first failed step's reason; an unforeseen error names its type."""
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        failure = data.user_failure_data
        if failure is not None and failure.description:
            return failure.description
        if data.error is not None:
            innermost = data.error.cause or data.error
            if innermost.cls_name == CallError.__name__:
                # Foreseen, and in words of its own, behind the names of its class and its kind.
                return f"{event.step_key}: {innermost.message.strip().split(': ', 2)[-1]}"
            return f"unforeseen error in {event.step_key}: {innermost.message.strip()}"
    return "the run failed; see it in Dagster"


def identity_of(tags: Mapping[str, str]) -> ProcessIdentity | None:
    """The process that a run's tags name; None where they name none."""
    try:
        host, boot_id, pid, started = tags[PROCESS_TAG].rsplit("/", 3)
        return ProcessIdentity(host, boot_id, int(pid), float(started))
    except (KeyError, ValueError):
        return None


def open_instance(settings: Settings) -> DagsterInstance:
    """The Dagster instance that `dagster.yaml` describes."""
    set_homes(settings)
    Path(settings.home).mkdir(parents=True, exist_ok=True)
    # Two first commands at once would both make Dagster's tables, and one of them would fail.
    with (Path(settings.home) / ".dagster-setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return DagsterInstance.get()
