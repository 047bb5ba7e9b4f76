"""The processes behind Dagster's runs: whether they live, and how they are ended.

One small protocol for every launcher. On this machine the ledger knows the process; launchers with
a health check of their own (Kubernetes, Docker, ECS) are asked through Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dagster import DagsterInstance, DagsterRun
from dagster._core.launcher import WorkerStatus

from pipeline_assets.instance import PROCESS_TAG
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone
from resources.adapters.processes import end_process
from resources.core.run_recovery import Sign
from resources.platform import Platform

END_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a run's process.

    Args:
        words: Names it for a person.
    """

    sign: Sign
    words: str


class RunWorkers(Protocol):
    """How to see and end the process of a run."""

    def look(self, run: DagsterRun) -> Look: ...

    def ends_with_its_server(self, run: DagsterRun) -> bool:
        """Whether one that is out of sight has ended with the code server that had started it."""
        ...

    def can_end(self, run: DagsterRun) -> bool:
        """Whether it can be ended from here."""
        ...

    def end(self, run: DagsterRun) -> bool:
        """End it. Returns whether it is certainly gone."""
        ...


class LocalProcesses:
    """Processes of this machine, as they registered themselves in the ledger."""

    def __init__(self, platform: Platform, identities: dict[str, ProcessIdentity]) -> None:
        self._platform = platform
        self._identities = identities

    def look(self, run: DagsterRun) -> Look:
        identity = self._identities.get(run.run_id)
        if identity is None:
            return Look(Sign.UNREGISTERED, "no process yet")
        words = f"process {identity.pid} on {identity.host}"
        if is_process_gone(identity):
            return Look(Sign.GONE, words)
        is_here = identity.host == current_process().host
        return Look(Sign.ALIVE if is_here else Sign.OUT_OF_SIGHT, words)

    def ends_with_its_server(self, run: DagsterRun) -> bool:
        """It is on the server's machine: where that has another name now, a container was made
        anew. A run within a command has no server, and one that beats lives."""
        return PROCESS_TAG not in run.tags and not self._is_beating(run)

    def _is_beating(self, run: DagsterRun) -> bool:
        return self._platform.ledger.runs.is_beating(run.run_id, self._platform.clock.now())

    def can_end(self, run: DagsterRun) -> bool:
        """On this machine, always; on another one where nothing beats for the run any more: then
        its lease has run out, and it can write nothing should it come back."""
        identity = self._identities.get(run.run_id)
        if identity is None:
            return False
        is_here = identity.host == current_process().host
        return is_here or not self._is_beating(run)

    def end(self, run: DagsterRun) -> bool:
        """Never asks Dagster first: its code server would wait for a frozen worker for ever."""
        identity = self._identities.get(run.run_id)
        if identity is None:
            return False
        is_here = identity.host == current_process().host
        if is_here and not end_process(identity, END_PATIENCE_S):
            return False
        self._platform.ledger.workers.bury(run.run_id, self._platform.clock.now())
        return True


class LauncherWorkers:
    """Workers that their launcher can look after: containers, tasks, pods.

    Args:
        local: For runs within a command, of which the launcher knows nothing.
    """

    def __init__(
        self, instance: DagsterInstance, platform: Platform, local: LocalProcesses
    ) -> None:
        self._instance = instance
        self._platform = platform
        self._local = local

    def look(self, run: DagsterRun) -> Look:
        if PROCESS_TAG in run.tags:
            return self._local.look(run)
        found = self._instance.run_launcher.check_run_worker_health(run)
        words = f"worker of {type(self._instance.run_launcher).__name__}"
        match found.status:
            case WorkerStatus.RUNNING:
                return Look(Sign.ALIVE, words)
            case WorkerStatus.FAILED | WorkerStatus.NOT_FOUND | WorkerStatus.SUCCESS:
                return Look(Sign.GONE, words)
            case _:
                return Look(Sign.OUT_OF_SIGHT, words)

    def ends_with_its_server(self, run: DagsterRun) -> bool:
        return PROCESS_TAG in run.tags and self._local.ends_with_its_server(run)

    def can_end(self, run: DagsterRun) -> bool:
        return PROCESS_TAG not in run.tags or self._local.can_end(run)

    def end(self, run: DagsterRun) -> bool:
        if PROCESS_TAG in run.tags:
            return self._local.end(run)
        if not self._instance.run_launcher.terminate(run.run_id):
            return False
        self._platform.ledger.workers.bury(run.run_id, self._platform.clock.now())
        return True


def workers_of(
    instance: DagsterInstance, platform: Platform, identities: dict[str, ProcessIdentity]
) -> RunWorkers:
    """How this instance's workers are seen and ended."""
    local = LocalProcesses(platform, identities)
    if instance.run_launcher.supports_check_run_worker_health:
        return LauncherWorkers(instance, platform, local)
    return local
